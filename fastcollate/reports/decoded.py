"""Tokens as text, also where an id is no token or bytes are half a character."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["LOST", "BlankTokens", "decodable", "decoded"]

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


class BlankTokens:
    """`BlankTokens` tells which tokens are nothing but white space; each token is decoded once.

    Args:
        tokenizer: The tokenizer; without one, or one that decodes, no token is known to be blank.
        size: The size of the vocabulary.

    >>> from fastcollate import load_encoding
    >>> BlankTokens(load_encoding("bytes"), 257).among(np.array([10, 104, 32, 999]))
    array([ True, False,  True, False])
    """

    def __init__(self, tokenizer: Tokenizer | None, size: int) -> None:
        self._tokenizer = tokenizer
        self._blank, self._known = np.zeros((2, size + 1), bool)  # the last: any other id
        self._known[size] = True

    def among(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether each token is blank, bool[V]."""
        if self._tokenizer is None:
            return np.zeros(len(ids), bool)
        for token in np.unique(ids[~self._known.take(ids, mode="clip")]).tolist():
            self._known[token] = True
            self._blank[token] = decoded(self._tokenizer, [token]).isspace()
        return self._blank.take(ids, mode="clip")
