"""Tokenizers that merge pairs of bytes: `bpe.py` makes one of a tiktoken encoding, `published.py` by its name.

`ordinary.py` is the reference for its ids, and `gigatoken.py` the fast way to the same ones, where `patterns.py`
knows the pattern; `single_bytes.py` is for tokens of one byte each. The room imports `ragged`,
`errors` and `tokenizers.tokenizer`.
"""
