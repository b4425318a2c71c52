"""Audits: what a model would learn of a store that was not meant.

`auditing.py` has `audit`: first what columns tell (`column_part.py`), then what tokens do (`token_part.py`, which
goes through `stretches.py` and asks `checks.py`, `spellings.py` and `repeats.py`). `findings.py` is what comes of
it, `kinds.py` says what each finding means, `tables.py` and `page.py` show it.
The room imports what `reports` does.
"""
