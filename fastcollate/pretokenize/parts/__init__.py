"""A large source in parts: cut (`tasks.py`), done (`writing.py`), remembered (`journal.py`, `unfinished.py`).

`assembling.py` makes one store of the parts, `adding.py` adds them to an older one.
"""
