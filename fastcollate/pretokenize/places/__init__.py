"""Where a store is made: a directory (`in_directory.py`) or a prefix of an object store (`in_objects.py`).

`place.py` says what both can do, and `drafts.py` what a task needs of them.
"""
