"""Plans that keep to the capacity of a collator: so many documents and cells of a batch at most.

`within` checks and tells a plan what a batch has room for, `bundles` fills packs of a limited number of documents.
The room imports `plan` and what lies below.
"""
