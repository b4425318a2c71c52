"""What formats with named columns share: which are tokens, and where these lie in lists, samples and arrays.

`token_columns.py` says what a name means, `list_columns.py` reads Arrow's lists, `samples.py` the samples of MDS
and litData, `npy_arrays.py` and `mds_arrays.py` arrays among bytes, `tar_members.py` a tar's headers,
`index_files.py` the JSON beside files. They import `corpus.mapped_rows` and lower rooms, and pyarrow.
"""
