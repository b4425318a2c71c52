"""Stores written as the files that other programs read: one file a format, and the directory that appears whole.

The room imports `store` and lower rooms, and pyarrow where it is the format; no library that reads the files.
"""
