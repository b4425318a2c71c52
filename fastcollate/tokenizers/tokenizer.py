"""What a tokenizer is, and what a store remembers of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from numpy.typing import ArrayLike

from fastcollate.ragged import IntArray, Ragged

__all__ = ["END_OF_TEXT", "Tokenizer", "TokenizerInfo"]

END_OF_TEXT = "<|endoftext|>"


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back; it must survive pickling, and give the same for the same text.

    Text is ordinary text: where a document spells `<|endoftext|>`, the letters are encoded.
    """

    @property
    def name(self) -> str:
        """What `load_encoding` and a store's manifest call the tokenizer."""
        ...

    @property
    def sha256(self) -> str:
        """64 hex digits of the vocabulary's content: the same on every machine."""
        ...

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def eot_token_id(self) -> int | None:
        """The token that ends a text; None if there is none."""
        ...

    def encode(self, text: str) -> IntArray:
        """Return the `int64[V]` ids of a text."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, a row for each."""
        ...

    def byte_lengths(self) -> IntArray:
        """Return `int64[vocab_size]`: how many bytes each token stands for, 0 where no token has the id."""
        ...

    def control_id(self, text: str) -> int | None:
        """Return the special token of that name; None if there is none."""
        ...

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of some tokens; bytes that are no UTF-8 (half a character) become U+FFFD."""
        ...


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """What a store remembers of the tokenizer that made its ids."""

    name: str
    sha256: str
    n_vocab: int
    eot_token_id: int | None
