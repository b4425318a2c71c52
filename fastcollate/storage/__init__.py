"""Where bytes lie: files of this machine, object stores, URLs as local files, and compressed streams.

`storage.py` says what a directory and a prefix of an object store have in common (`folder.py`, `objects.py`).
A file appears whole or not at all; a failing disk or server is told in our own words.
The room imports `errors` and `arguments`, and no other room: what the bytes mean is not known here.
"""
