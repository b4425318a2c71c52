"""How a record becomes text, and which parts of the text a model learns: dicts in, segments out.

`segments.py` says what a template is, `fields.py` fills fields into sections, `built_in.py` has ours as data.
The room imports `errors` and `arguments`, and no other room.
"""
