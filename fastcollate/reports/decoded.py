"""Tokens as text, also where an id is no token or bytes are half a character."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["LOST", "decodable", "decoded"]

LOST = "\ufffd"
"""What stands for what has no text."""


def decodable(tokenizer: Tokenizer, ids: ArrayLike) -> str | None:
    """Return the text of some tokens, None where there is none; a caller's own function may raise anything."""
    try:
        return tokenizer.decode(ids)
    except Exception:  # noqa: BLE001  # as said above
        return None


def decoded(tokenizer: Tokenizer, ids: ArrayLike) -> str:
    """Return the text of some tokens; what has none is U+FFFD.

    >>> from fastcollate import load_encoding
    >>> decoded(load_encoding("bytes"), [104, 105, 999])
    'hi\ufffd'
    """
    whole = decodable(tokenizer, ids)
    if whole is not None:
        return whole
    pieces = (decodable(tokenizer, np.array([token])) for token in np.asarray(ids).tolist())
    return "".join(LOST if piece is None else piece for piece in pieces)
