"""Any function from text to ids, as a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.tokenizers.tokenizer import mend

__all__ = ["CallableTokenizer"]


class CallableTokenizer:
    """`CallableTokenizer` is what `Tokenizer.from_callable` returns, which says more.

    Attributes:
        knows_places: False says that nobody knows which characters a token is of, so that a text is a target as
            a whole or not at all.
    """

    def __init__(
        self,
        encode: Callable[[str], ArrayLike],
        *,
        vocab_size: int,
        eot_token_id: int | None,
        name: str,
        byte_lengths: ArrayLike | None,
        decode: Callable[[list[int]], str] | None,
    ) -> None:
        self.name = name
        self.vocab_size = vocab_size
        self.eot_token_id = eot_token_id
        self.control_names: frozenset[str] = frozenset()
        self.knows_places = byte_lengths is not None
        self._encode = encode
        self._decode = decode
        self._byte_lengths = None if byte_lengths is None else np.array(byte_lengths, np.int64)
        if self._byte_lengths is not None and self._byte_lengths.shape != (vocab_size,):
            raise EncodingError(
                f"byte_lengths has shape {self._byte_lengths.shape}: it needs one number for each of the "
                f"{vocab_size} tokens"
            )

    def __repr__(self) -> str:
        return f"CallableTokenizer({self.name!r}, {self.vocab_size} tokens)"

    @property
    def sha256(self) -> str:
        """64 hex digits of the name and the size: nothing else of a function can be compared."""
        return sha256(f"callable {self.vocab_size} {self.eot_token_id} {self.name}".encode()).hexdigest()

    def encode(self, text: str) -> IntArray:
        """Return the `int64[V]` ids of a text.

        Raises:
            EncodingError: The function returns anything but ids below `vocab_size`.
        """
        ids = np.asarray(self._encode(mend(text)))
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise EncodingError(
                f'"{self.name}" returns {ids.dtype} with {ids.ndim} dimension(s) for a text: return a flat list '
                "of ids"
            )
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocab_size:
            bad = int(ids.max() if int(ids.max()) >= self.vocab_size else ids.min())
            raise EncodingError(
                f'"{self.name}" returns the id {bad}: ids go from 0 to vocab_size - 1, which is '
                f"{self.vocab_size - 1}"
            )
        return ids.astype(np.int64)

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, a row for each.

        Raises:
            EncodingError: The function returns no ids for a text; `document` is its number.
        """
        rows = []
        for i, text in enumerate(texts):
            try:
                rows.append(self.encode(text))
            except EncodingError as error:
                raise EncodingError(str(error), document=i) from None
        return Ragged.from_rows(rows, np.uint32)

    def byte_lengths(self) -> IntArray | None:
        """Return `int64[vocab_size]` as it was given, or None."""
        return self._byte_lengths

    def encode_with_offsets(self, texts: Sequence[str]) -> tuple[Ragged, IntArray]:
        """Return the ids of many texts, and `int64[V, 2]`: every token may be of any character of its text."""
        tokens = self.encode_batch(texts)
        stops = np.repeat([len(mend(text)) for text in texts], tokens.lengths).astype(np.int64)
        return tokens, np.stack([np.zeros_like(stops), stops], axis=1)

    def control_id(self, text: str) -> int | None:
        """Return None: nobody knows the names of control tokens."""
        del text
        return None

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of some tokens.

        Raises:
            EncodingError: No function does it.
        """
        if self._decode is None:
            raise EncodingError(f'"{self.name}" cannot decode: give Tokenizer.from_callable a decode=')
        return self._decode(np.asarray(ids).tolist())
