"""Byte-pair encodings: what tiktoken makes, as a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from operator import attrgetter

import numpy as np
import tiktoken
from numpy.typing import ArrayLike

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.tokenizers.byte_pairs.gigatoken import Gigatoken, gigatoken_loader
from fastcollate.tokenizers.byte_pairs.ordinary import Reference
from fastcollate.tokenizers.byte_pairs.patterns import ANY_BYTES, known_pattern
from fastcollate.tokenizers.byte_pairs.single_bytes import SingleBytes
from fastcollate.tokenizers.tokenizer import END_OF_TEXT, mend

__all__ = ["BpeTokenizer"]


class BpeTokenizer:
    """`BpeTokenizer` makes a `Tokenizer` of a tiktoken encoding.

    Args:
        encoding: The encoding; its pattern must match every character.
        made_by: A function and its arguments that make the tokenizer in another process; by default the
            vocabulary is sent there.

    Attributes:
        encoding: The tiktoken encoding itself.

    >>> tokenizer = BpeTokenizer(tiktoken.Encoding(
    ...     "letters", pat_str="(?s:.)", mergeable_ranks={b"a": 0, b"b": 1}, special_tokens={"<|endoftext|>": 2}
    ... ))
    >>> tokenizer, tokenizer.encode("abba"), tokenizer.control_id("<|endoftext|>")
    (BpeTokenizer('letters', 3 tokens), array([0, 1, 1, 0]), 2)
    """

    def __init__(
        self, encoding: tiktoken.Encoding, *, made_by: tuple[object, tuple[object, ...]] | None = None
    ) -> None:
        self.name = encoding.name
        self.vocab_size = encoding.n_vocab
        self.encoding = encoding
        self._made_by = made_by
        # tiktoken's README extends encodings with these attributes.
        parts: tuple[str, dict[bytes, int], dict[str, int]] = attrgetter(
            "_pat_str", "_mergeable_ranks", "_special_tokens"
        )(encoding)
        self._pattern, self._ranks, self._special = parts
        self._reference = Reference(encoding, known_pattern(self._pattern))
        self.control_names = frozenset(self._special)
        self.eot_token_id = self._special.get(END_OF_TEXT)

    def __repr__(self) -> str:
        return f"BpeTokenizer({self.name!r}, {self.vocab_size} tokens)"

    def __reduce__(self) -> tuple[object, ...]:
        return self._made_by or (BpeTokenizer, (self.encoding,))

    @cached_property
    def sha256(self) -> str:
        """64 hex digits of the vocabulary's content: the same on every machine.

        >>> from fastcollate.tokenizers.byte_pairs.published import load_bpe
        >>> load_bpe("bytes").sha256[:8]
        '01731bcf'
        """
        digest = sha256()
        parts = [
            [(self._pattern.encode(), 0)],
            sorted(self._ranks.items()),
            sorted((token.encode(), rank) for token, rank in self._special.items()),
        ]
        for part in parts:  # counts and lengths in front, so that no two vocabularies give the same bytes
            digest.update(len(part).to_bytes(8, "little"))
            for token, rank in part:
                digest.update(len(token).to_bytes(4, "little") + token + rank.to_bytes(4, "little"))
        return digest.hexdigest()

    def encode(self, text: str) -> IntArray:
        """Return the `int64[V]` ids of a text, in which `<|endoftext|>` is just letters.

        Raises:
            EncodingError: tiktoken cannot encode the text.
        """
        return np.array(self._reference.encode(text), np.int64)

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, a row for each.

        Raises:
            EncodingError: tiktoken cannot encode a text; `document` is its number.
        """
        return self._engine.encode_batch(texts)

    def encode_ended(self, texts: Sequence[str]) -> Ragged | None:
        """Return the uint32 ids of many texts, each with the end-of-text token after it.

        None is returned where there is no such token, or where ordinary text may give it.

        Raises:
            EncodingError: As `encode_batch`.

        >>> from fastcollate.tokenizers.byte_pairs.published import load_bpe
        >>> load_bpe("bytes").encode_ended(["hi", ""]).values
        array([104, 105, 256, 256], dtype=uint32)
        """
        return self._engine.encode_batch(texts, self.eot_token_id) if self._has_end_apart else None

    @cached_property
    def _has_end_apart(self) -> bool:
        return self.eot_token_id is not None and self.eot_token_id not in self._ranks.values()

    @cached_property
    def _engine(self) -> Reference | Gigatoken | SingleBytes:
        """The fastest way to the ids that tiktoken gives."""
        if self._pattern == ANY_BYTES and len(self._ranks) == 256 and max(map(len, self._ranks)) == 1:
            return SingleBytes(self._ranks)
        known = known_pattern(self._pattern)
        load = None if known is None else gigatoken_loader(self._ranks, known.scheme)
        return self._reference if load is None else Gigatoken(self._reference, load)

    def byte_lengths(self) -> IntArray:
        """Return `int64[vocab_size]`: how many bytes each token stands for, 0 where no token has the id.

        >>> from fastcollate.tokenizers.byte_pairs.published import load_bpe
        >>> load_bpe("bytes").byte_lengths()[[0, 255, 256]]
        array([ 1,  1, 13])
        """
        return self._byte_lengths

    @cached_property
    def _byte_lengths(self) -> IntArray:
        lengths = np.zeros(self.vocab_size, np.int64)
        special = {token.encode(): rank for token, rank in self._special.items()}
        for ranks in (self._ranks, special):
            lengths[list(ranks.values())] = [len(token) for token in ranks]
        lengths.flags.writeable = False  # every caller shares it
        return lengths

    def encode_with_offsets(self, texts: Sequence[str]) -> tuple[Ragged, IntArray]:
        """Return the ids of many texts, and `int64[V, 2]`: which characters of its text each token is of.

        A token of part of a character is of that whole character; so is the next one.

        >>> from fastcollate.tokenizers.byte_pairs.published import load_bpe
        >>> load_bpe("bytes").encode_with_offsets(["aé"])[1].tolist()
        [[0, 1], [1, 2], [1, 2]]
        """
        tokens = self.encode_batch(texts)
        places = np.zeros((len(tokens.values), 2), np.int64)
        for text, start, stop in zip(texts, tokens.offsets[:-1], tokens.offsets[1:], strict=True):
            data = np.frombuffer(mend(text).encode(), np.uint8)
            character = np.cumsum((data & 0xC0) != 0x80) - 1  # the one that each byte is of
            ends = np.cumsum(self._byte_lengths[tokens.values[start:stop]])
            places[start:stop, 0] = character[ends - self._byte_lengths[tokens.values[start:stop]]]
            places[start:stop, 1] = character[ends - 1] + 1
        return tokens, places

    def control_id(self, text: str) -> int | None:
        """Return the special token of that name; None if there is none."""
        return self._special.get(text)

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of some tokens; bytes that are no UTF-8 (half a character) become U+FFFD.

        Raises:
            EncodingError: An id is no token of the encoding.

        >>> from fastcollate.tokenizers.byte_pairs.published import load_bpe
        >>> load_bpe("bytes").decode(np.array([104, 105]))
        'hi'
        """
        plain = np.asarray(ids).tolist()
        try:
            return self.encoding.decode(plain, errors="replace")
        except (KeyError, OverflowError, TypeError):
            lengths = self.byte_lengths()
            bad = next(i for i in plain if not (isinstance(i, int) and 0 <= i < len(lengths) and lengths[i]))
            raise EncodingError(
                f'{bad!r} is no token of encoding "{self.name}": ids go from 0 to {self.vocab_size - 1}; '
                "load the encoding these ids were made with"
            ) from None
