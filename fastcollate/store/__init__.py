"""The store: token ids on disk, as `manifest.py` specifies; one writer, one reader, and checks of every byte.

Any Arrow or NumPy program can read a store without this room; nothing in it is ever unpickled or run.
The room imports `ragged`, `storage`, `tokenizers` and what lies below; pyarrow is allowed here, torch is not.
"""
