"""What collators are given: lists, arrays and dicts as rows of a batch, and what these say about themselves.

`inputs` reads, `row_columns` applies masks, labels and the like, `several_documents` tells documents apart.
"""
