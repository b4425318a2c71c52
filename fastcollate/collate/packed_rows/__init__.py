"""Where the documents of packs lie in the cells of a batch, and what attention kernels are told of it.

`pack_layout` places documents, padded ones too, `cells` fills their cells, `cu_seqlens` tells kernels where each
begins, `zigzag` which cells a rank of context parallelism has. The room imports `collate`'s kernels, `ragged` and
what lies below.
"""
