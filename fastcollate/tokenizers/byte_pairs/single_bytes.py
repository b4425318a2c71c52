"""Texts to ids where every token is one byte: a look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fastcollate.ragged import Ragged, offsets_of
from fastcollate.tokenizers.tokenizer import mend

__all__ = ["SingleBytes"]


class SingleBytes:
    """`SingleBytes` encodes each byte of UTF-8 as the token that is that byte.

    Args:
        ranks: The id of each of the 256 bytes.

    >>> SingleBytes({bytes([byte]): byte for byte in range(256)}).encode_batch(["hi", "é"]).values
    array([104, 105, 195, 169], dtype=uint32)
    """

    def __init__(self, ranks: Mapping[bytes, int]) -> None:
        self._ids = np.array([ranks[bytes([byte])] for byte in range(256)], np.uint32)

    def encode_batch(self, texts: Sequence[str], end: int | None = None) -> Ragged:
        """Return the uint32 ids of many texts, a row for each; lone surrogates are U+FFFD.

        Args:
            texts: The texts.
            end: The token after each text; None (default) is without.
        """
        try:
            data = [text.encode() for text in texts]
        except UnicodeEncodeError:
            data = [mend(text).encode() for text in texts]
        lengths = np.fromiter(map(len, data), np.int64, len(data))
        if end is None:
            return Ragged(self._ids[np.frombuffer(b"".join(data), np.uint8)], offsets_of(lengths))
        ids, offsets = self._ids[np.frombuffer(b"\0".join([*data, b""]), np.uint8)], offsets_of(lengths + 1)
        ids[offsets[1:] - 1] = end
        return Ragged(ids, offsets)
