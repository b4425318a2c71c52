"""Where records come from: files and iterables in, dicts out, many rows at a time.

`resolve.py` finds the sources, `source.py` reads them, the others hold one family of formats each.
The room imports `storage`, `errors` and `arguments`; pyarrow is allowed here, torch is not.
"""
