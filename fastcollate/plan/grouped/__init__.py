"""Plans whose units are groups of records, such as preference pairs, which are never torn apart.

`groups` says which records are a group, `group_buckets` and `group_packs` plan over groups as other plans do over
records, and name records again where batches are handed out. The room imports `plan` and what lies below.
"""
