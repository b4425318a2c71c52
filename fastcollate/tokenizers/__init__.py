"""Text to token ids and back, and documents to tokens with their supervised spans.

`tokenizer.py` says what a tokenizer is, `load.py` finds one by its name or file, `byte_pairs/` holds tiktoken's;
`documents.py` encodes. tiktoken, gigatoken and tokenizers are imported in this room alone.
The room imports `ragged`, `templates.segments`, `errors` and `arguments`, and no other room.
"""

from fastcollate.tokenizers.tokenizer import Tokenizer as Tokenizer
