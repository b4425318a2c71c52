"""The write path put together: records to tokens (`recipe.py`), here or in workers (`engines.py`), into a store.

`run.py` is the driver; each chunk of records goes through it once, in the order of the source. `joining.py` makes
one store of several.
The room imports `sources`, `templates`, `tokenizers`, `store` and what lies below; torch is not allowed here.
"""
