"""The batch between a dataset and a collator: rows of tokens, and columns beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.ragged.packs import Packs
from fastcollate.ragged.ragged import IntArray, Ragged, Rows
from fastcollate.ragged.steps import Steps

__all__ = ["Column", "RaggedBatch"]


class Column(NamedTuple):
    """What a corpus has beside its tokens: the dtype of the values, and what they belong to.

    A column per `"token"` has one value for each token, one per `"record"` a single value for each record, and
    one per `"span"` one for each span; `spans` themselves are flat (start, stop) pairs of token positions within
    the record. Where `is_text`, values are the numbers of strings, which the corpus's `words` returns.
    """

    dtype: str
    per: Literal["token", "span", "record"]
    is_text: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RaggedBatch:
    """The rows of one batch, before padding: what a dataset yields and a collator takes.

    The tokens usually lie in a whole memory-mapped shard, so making a batch copies nothing. Nothing in a batch
    changes once it is made.

    Attributes:
        tokens: The rows, uint16|uint32|int64.
        record_ids: The place of each row in its corpus, int64[B]; -1 marks a filler row, which has no tokens.
        columns: What is known about the tokens, by name and row for row: `spans` are the supervised parts as flat
            (start, stop) pairs, `labels` one label for each token.
        width: The number of columns that the plan fixed for this batch; None lets the longest row decide.
        packs: Which rows are documents of one pack, and where in it each lies; None where a row is a row.
        cuts: The tokens of its record that lie before each row, int64[B], where rows are pieces of records; else
            None.
        steps: Which step the batch belongs to; None where it is a step of its own, or nobody knows.

    >>> from fastcollate import Ragged
    >>> batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3], [4]]))
    >>> batch.lengths, batch.record_ids
    (array([3, 1]), array([0, 1]))
    """

    tokens: Rows
    record_ids: IntArray
    columns: Mapping[str, Rows] = field(default_factory=dict)
    width: int | None = None
    packs: Packs | None = None
    cuts: IntArray | None = None
    steps: Steps | None = None

    @classmethod
    def from_ragged(
        cls,
        ragged: Ragged,
        *,
        record_ids: IntArray | None = None,
        spans: Ragged | None = None,
        columns: Mapping[str, Ragged] | None = None,
        width: int | None = None,
    ) -> RaggedBatch:
        """Return a batch over the rows of a `Ragged`.

        Args:
            ragged: The rows of tokens.
            record_ids: The number of each row, int64[B]; by default the rows count from 0.
            spans: The supervised (start, stop) pairs of each row, which are a column of that name.
            columns: Further columns by name, with a row for each row of tokens.
            width: The number of columns to pad to; by default the longest row decides.

        Raises:
            InputError: `record_ids` or a column has another number of rows than `ragged`.
        """
        ids = np.arange(len(ragged)) if record_ids is None else np.asarray(record_ids, np.int64)
        named = {**(columns or {}), **({} if spans is None else {"spans": spans})}
        for name, count in {"record_ids": len(ids), **{name: len(part) for name, part in named.items()}}.items():
            if count != len(ragged):
                raise InputError(
                    f"{name} has {count} rows where there are {len(ragged)}: it needs one for each row"
                )
        return cls(Rows.of(ragged), ids, {name: Rows.of(part) for name, part in named.items()}, width)

    def __len__(self) -> int:
        return len(self.record_ids)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The tokens of row `index`, as a view."""
        return self.tokens[index]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(self.tokens)

    def __repr__(self) -> str:
        beside = "".join(f", {name}" for name in self.columns)
        return f"RaggedBatch({len(self)} rows, {int(self.lengths.sum())} tokens{beside}, width={self.width})"

    @property
    def lengths(self) -> IntArray:
        """The number of tokens of each row, int64[B]."""
        return self.tokens.lengths

    @property
    def spans(self) -> Rows | None:
        """The supervised parts of each row as flat (start, stop) pairs, if the batch has them."""
        return self.columns.get("spans")

    def filled(self, count: int) -> RaggedBatch:
        """Return the same batch with filler rows after its own, up to `count` rows."""
        ids = np.full(count, -1, np.int64)
        ids[: len(self)] = self.record_ids
        columns = {name: rows.filled(count) for name, rows in self.columns.items()}
        return RaggedBatch(self.tokens.filled(count), ids, columns, self.width, self.packs, self.cuts)

    def cut(self, begins: IntArray, lengths: IntArray, per_token: Collection[str] = ()) -> RaggedBatch:
        """Return pieces of the rows: `lengths[i]` tokens of row `i` from its token `begins[i]` on, without a copy.

        Args:
            begins: The first token of each piece, int64[B].
            lengths: The number of tokens of each piece, int64[B].
            per_token: The columns that have a value for each token, and are cut with it; others stay whole.
        """
        cuts = begins if self.cuts is None else self.cuts + begins
        return self._parts(begins, lengths, per_token, cuts)

    def clipped(self, longest: int, per_token: Collection[str] = ()) -> RaggedBatch:
        """Return the same rows cut on the right to `longest` tokens, and the columns `per_token` with them."""
        if not len(self) or int(self.lengths.max()) <= longest:
            return self
        return self._parts(0, np.minimum(self.lengths, longest), per_token, self.cuts)

    def _parts(
        self, begins: IntArray | int, lengths: IntArray, per_token: Collection[str], cuts: IntArray | None
    ) -> RaggedBatch:
        columns = {
            name: Rows(rows.values, rows.starts + begins, lengths) if name in per_token else rows
            for name, rows in self.columns.items()
        }
        tokens = Rows(self.tokens.values, self.tokens.starts + begins, lengths)
        return RaggedBatch(tokens, self.record_ids, columns, self.width, self.packs, cuts)

    def laid_out(self, *, width: int | None, packs: Packs | None = None) -> RaggedBatch:
        """Return the same rows with the width, or the packs, that a plan gave them."""
        return RaggedBatch(self.tokens, self.record_ids, self.columns, width, packs, self.cuts)


def inside_spans(spans: NDArray[Any], counts: IntArray, offsets: IntArray) -> NDArray[np.bool_]:
    """Return which of the tokens of some rows lie in a span, bool[V].

    Args:
        spans: The spans of all rows side by side, start and stop by turns, counted from their row's first token.
        counts: How many starts and stops each row has, int64[N].
        offsets: Where the tokens of each row begin, and at the end where the last one stops, int64[N+1].

    Of the rows [5 6 7] and [8], the first with the span (1, 3): edges [0 1 0 -1 0], summed up [0 1 1 0].

    >>> inside_spans(np.array([1, 3]), np.array([2, 0]), np.array([0, 3, 4]))
    array([False,  True,  True, False])
    """
    places = spans.astype(np.int64) + np.repeat(offsets[:-1], counts)
    starts, stops = (np.bincount(ends, minlength=int(offsets[-1]) + 1) for ends in (places[::2], places[1::2]))
    inside: NDArray[np.bool_] = np.cumsum(starts - stops)[:-1] > 0
    return inside
