"""How a record becomes text, and which parts of the text a model learns: dicts in, segments out.

`segments.py` says what a template is, `named.py` finds one by name or file, `detect.py` by the keys of records.
`fields/` fills fields into sections; `turns.py` reads conversations, which `chat.py` and `jinja/` write down;
`shapes.py` takes records that are more than one text, `token_rows.py` those that are tokens, and `markers.py`
learns parts of transcripts.
`built_in.py` has ours as data, `wording.py` what messages of errors share.
The room imports `errors`, `arguments` and `ragged`, and no other room.
"""
