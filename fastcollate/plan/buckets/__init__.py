"""Plans of length buckets: `bucket_plan` is what all share, `row_buckets` and `token_buckets` fill batches.

`bucket_window` holds the batches of a window. The room imports `plan` and what lies below.
"""
