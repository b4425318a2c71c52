"""What a dataset reads: the two protocols that every corpus keeps, rows in memory, and several corpora as one.

A corpus knows its lengths and its fingerprint; `at_epoch` gives the records of one pass, which gather batches.
The room imports `store`, `plan.permutation`, `ragged` and what lies below; neither torch nor a dataset.
"""
