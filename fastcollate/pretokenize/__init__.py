"""The write path: records to tokens (`recipe.py`), in parts (`parts/`), in this process and others (`engines/`),
to a directory or an object store (`places/`).

`run.py` is `prepare`, and `work.py` who does what of it; `joining.py` makes one store of several.
The room imports `sources`, `templates`, `tokenizers`, `store` and what lies below; torch is not allowed here.
"""
