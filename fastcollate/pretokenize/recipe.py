"""How a chunk of records becomes tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from fastcollate.errors import InputError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.sources.chunk import Chunk
from fastcollate.templates.segments import Document, Template
from fastcollate.tokenizers.documents import encode_documents, truncate
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["Encoded", "OnError", "Overlong", "Recipe"]

Overlong = Literal["truncate", "drop", "error"]
OnError = Literal["raise", "skip"]


class Encoded(NamedTuple):
    """A chunk ready for the store.

    Attributes:
        tokens: The uint32 ids of N records.
        spans: Their supervised tokens, as uint32 (start, stop) pairs.
        source_rows: `int64[N]`, the row each record came from, counted through all sources.
        rejected: How many records were left out, by reason.
    """

    tokens: Ragged
    spans: Ragged
    source_rows: IntArray
    rejected: Counter[str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a chunk of records becomes is a function of the chunk and these fields alone.

    Args:
        template: What makes text of a record.
        tokenizer: What makes tokens of the text.
        append_eot: True ends each record with the end-of-text token, which is supervised.
        max_length: The most tokens of a record; None is no limit.
        overlong: What becomes of longer records.
        on_error: `"raise"` stops at a bad record, `"skip"` counts it by reason.
    """

    template: Template
    tokenizer: Tokenizer
    append_eot: bool = True
    max_length: int | None = None
    overlong: Overlong = "truncate"
    on_error: OnError = "raise"

    def encode(self, chunk: Chunk) -> Encoded:
        """Return the tokens of a chunk.

        Raises:
            InputError: A record is bad, and `on_error` is "raise".
            EncodingError: The tokenizer drops part of a text.
        """
        rejected = Counter(row.reason for row in chunk.rejected)
        origins, documents = self._documents(chunk, rejected)
        end = self.tokenizer.eot_token_id if self.append_eot else None
        tokens, spans = encode_documents(self.tokenizer, documents, end_token_id=end)
        usable = self._usable(chunk, origins, np.diff(tokens.offsets), rejected)
        if len(usable) < len(documents):
            tokens, spans = tokens.take(usable), spans.take(usable)
        if self.max_length is not None and self.overlong == "truncate":
            tokens, spans = truncate(tokens, spans, self.max_length)
        rows = chunk.base + chunk.rows[np.array(origins, np.int64)[usable]]
        return Encoded(tokens, spans, rows, rejected)

    def _documents(self, chunk: Chunk, rejected: Counter[str]) -> tuple[list[int], list[Document]]:
        """Return the documents of all records, after the number that each one's record has in the chunk."""
        origins: list[int] = []
        documents: list[Document] = []
        for i, record in enumerate(chunk.records):
            try:
                found = self.template.documents(record)
            except InputError as error:
                self._reject(chunk, i, str(error), error.reason, rejected)
            else:
                documents += found
                origins += [i] * len(found)
        return origins, documents

    def _usable(self, chunk: Chunk, origins: list[int], lengths: IntArray, rejected: Counter[str]) -> IntArray:
        """Return `int64[M]`: the documents that have tokens, and not too many."""
        good = lengths > 0
        for i in np.flatnonzero(~good).tolist():
            self._reject(chunk, origins[i], "it has no tokens: leave it out, or set append_eot", "empty", rejected)
        if self.max_length is not None and self.overlong != "truncate":
            over = lengths > self.max_length
            for i in np.flatnonzero(over).tolist():
                message = f"it has {lengths[i]} tokens, more than max_length={self.max_length}"
                if self.overlong == "drop":
                    rejected["overlong"] += 1
                else:
                    self._reject(chunk, origins[i], message, "overlong", rejected)
            good &= ~over
        return np.flatnonzero(good)

    def _reject(self, chunk: Chunk, i: int, message: str, reason: str, rejected: Counter[str]) -> None:
        if self.on_error == "raise":
            raise chunk.origin.error(int(chunk.rows[i]), message, reason)
        rejected[reason] += 1
