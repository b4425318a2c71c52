"""What formats with named columns share: which are tokens, and where these lie in lists, samples and arrays.

`token_columns.py` says what a name means, `list_columns.py` reads Arrow's lists, `samples.py` the samples of MDS
and litData, `npy_arrays.py` NumPy's arrays in a tar, `index_files.py` the JSON beside files. They import
`corpus.mapped_files` and lower rooms, and pyarrow.
"""
