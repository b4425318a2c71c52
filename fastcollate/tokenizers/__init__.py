"""Text to token ids and back, and documents to tokens with their supervised spans.

`tokenizer.py` says what a tokenizer is, `load.py` finds one by its name; tiktoken is imported in this room alone.
The room imports `ragged`, `templates.segments`, `errors` and `arguments`, and no other room.
"""
