"""Other programs' token files as a corpus: rows of mapped arrays, checked before any of them is read.

`mapped_files.py` maps, `mapped_rows.py` says where rows lie, `end_cuts.py` cuts streams into documents,
`series.py` orders shards, `hashed_files.py` compares hashes; `mapped_corpus.py` and `mapped_records.py` are
what datasets read. The room imports `ragged`, `storage`, `store`, and the protocols of `corpus`.
"""
