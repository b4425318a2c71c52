"""The tokenizer that made the ids of a store."""

from __future__ import annotations

from fastcollate.errors import EncodingError
from fastcollate.tokenizers.load import AnyEncoding, load_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer, TokenizerInfo

__all__ = ["tokenizer_of"]


def tokenizer_of(written: TokenizerInfo, encoding: AnyEncoding | None, where: str) -> Tokenizer:
    """Return the tokenizer that the manifest of a store names.

    Args:
        written: What the manifest says of it.
        encoding: What it is loaded from, as `load_encoding` takes it; None loads it by its name.
        where: The store, for the message.

    Raises:
        EncodingError: It cannot be found by its name, or is another one than made the ids.
    """
    tokenizer = load_encoding(written.name if encoding is None else encoding)
    if tokenizer.sha256 != written.sha256:
        raise EncodingError(
            f"{where} was written with another encoding {written.name!r} than {tokenizer.name!r} here: "
            "give the one that wrote it"
        )
    return tokenizer
