"""From what a caller names (a name, a tiktoken encoding, a tokenizer) to a tokenizer."""

from __future__ import annotations

import tiktoken

from fastcollate.tokenizers.bpe import BpeTokenizer
from fastcollate.tokenizers.published import load_bpe, unknown_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["AnyEncoding", "load_encoding"]

AnyEncoding = str | tiktoken.Encoding | Tokenizer


def load_encoding(encoding: AnyEncoding) -> Tokenizer:
    """Return the tokenizer that `encoding` names, loaded once a process.

    Args:
        encoding: A name (`"bytes"`, which is built in and needs nothing, or any name tiktoken knows), a
            `tiktoken.Encoding`, or a `Tokenizer`, which is returned as it is. `"gpt2"` is read from tiktoken's
            cache, else from the package behind the extra `fastcollate[gpt2]`, else from the network.

    Raises:
        EncodingError: The name is unknown, or its vocabulary cannot be reached.

    >>> tokenizer = load_encoding("bytes")
    >>> tokenizer.encode("hi"), tokenizer.vocab_size, tokenizer.eot_token_id
    (array([104, 105]), 257, 256)
    """
    if isinstance(encoding, str):
        return load_bpe(encoding)
    if isinstance(encoding, tiktoken.Encoding):
        return BpeTokenizer(encoding)
    if isinstance(encoding, BpeTokenizer | Tokenizer):
        return encoding
    raise unknown_encoding(encoding)
