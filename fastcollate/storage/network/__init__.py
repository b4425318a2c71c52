"""What reading over a network takes: a client, its settings and its failures, deadlines, and reading ahead.

`storage/objects.py` is made of it, and `block_cache.py` keeps on a disk what came. It imports `errors` and
`arguments` and its neighbours; obstore only in `client.py`.
"""
