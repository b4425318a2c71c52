"""What a dataset reads: the protocols of a corpus, rows in memory, several corpora as one, foreign token files.

A corpus knows its lengths and its fingerprint; `at_epoch` gives the records of one pass, which gather batches.
The room imports `store`, `plan.permutation`, `ragged` and what lies below; neither torch nor a dataset.
"""
