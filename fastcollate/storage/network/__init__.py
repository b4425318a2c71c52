"""What reading over a network takes: a client, its settings and its failures, deadlines, and reading ahead.

`storage/objects.py` is made of it. It imports `errors`, `arguments` and its neighbours; obstore only in
`client.py`.
"""
