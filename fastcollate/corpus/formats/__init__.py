"""Other people's token files, read in place: one file a format, none of which imports another.

Each has a function that tells its files by their content, and one that says where the rows lie, as a `Layout`; the
table in `corpus/recognised.py` has them all. They import `corpus.mapped_rows` and lower rooms, pyarrow where it is
the format, and neither torch nor the library that writes the files.
"""
