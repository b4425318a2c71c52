"""A store in an object store: its index copied to this machine once, its token ids fetched and checked by blocks.

`index_copy.py` brings what lies beside the tokens, `copied_arrays.py` has it as the arrays of shards,
`token_blocks.py` reads token ids, each block of 16 KiB against its checksum, `far_store.py` makes them of a URL.
It imports its neighbours in `store`, `storage` and `ragged`.
"""
