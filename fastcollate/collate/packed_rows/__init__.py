"""Where the documents of packs lie in the cells of a batch, and what attention kernels are told of it.

`pack_layout` places documents, padded ones too, and `boundaries` tells kernels where each begins. The room imports
`collate`'s kernels, `ragged` and what lies below; it reads no token.
"""
