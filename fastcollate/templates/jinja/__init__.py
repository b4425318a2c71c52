"""Hugging Face's chat templates: a caller's Jinja, rendered in a process of its own that has limits.

`chat_template.py` is what a caller sees, `helper.py` speaks with the process, `rendering.py` is what runs in it,
`names_read.py` looks at a template's grammar, `turn_places.py` finds which text each turn became, `masks.py` keeps
text of messages from looking like the template's, `model_files.py` reads the files of a model. The folder imports
the room around it; a template is rendered in the process alone.
"""
