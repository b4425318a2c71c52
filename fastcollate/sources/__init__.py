"""Where records come from: files, streams, tables and iterables in, dicts out, many rows at a time.

`resolve.py` finds the sources (`paths.py` the files, `prefixes.py` the objects, `folders.py` what is data among
them), `files.py` and `in_memory.py` are the two kinds of them, `sniff.py` tells formats apart, `formats/` holds
one family of formats each, `chunk.py` what all give.
The room imports `storage`, `errors` and `arguments`; pyarrow and orjson are allowed here, torch is not.
"""
