"""One family of file formats each: from a stream of bytes, or a file, to chunks of records.

None knows another but by `json_values.py` and `line_batches.py`; `sources/files.py` chooses among them.
The room imports `sources/chunk.py`, `sources/source.py`, `storage` and `errors`; pyarrow only in `columnar.py`.
"""
