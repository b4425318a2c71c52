from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.ragged.packs import Packs
from fastcollate.ragged.ragged import IntArray, Ragged, Rows

__all__ = ["RaggedBatch"]


class RaggedBatch(Rows):
    """The rows of one batch, before padding: what a dataset yields and a collator takes.

    `values` is usually a whole memory-mapped shard, so making a batch copies nothing.

    Attributes:
        values: uint16|uint32|int64[V].
        starts, lengths: int64[B].
        record_ids: int64[B], where each row belongs in its store; -1 is a filler row (length 0).
        spans: the supervised parts as flat (start, stop) pairs, one row for each row, or None.
        width: columns the plan fixed for this batch, or None (the longest row decides).
        packs: where rows are documents to be packed, which share a pack and where they lie in it; else None.
        cuts: int64[B], tokens of its record that lie before each row, where rows are pieces of records.

    >>> from fastcollate import Ragged
    >>> batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3], [4]]))
    >>> batch.lengths, batch.record_ids
    (array([3, 1]), array([0, 1]))
    """

    __slots__ = ("_spans", "cuts", "packs", "record_ids", "width")

    def __init__(
        self,
        values: NDArray[Any],
        starts: IntArray,
        lengths: IntArray,
        *,
        record_ids: IntArray,
        spans: Rows | Callable[[], Rows] | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__(values, starts, lengths)
        self.record_ids = record_ids
        self.width = width
        self.packs: Packs | None = None
        self.cuts: IntArray | None = None
        self._spans = spans

    @property
    def spans(self) -> Rows | None:
        """Looked up on first use: most batches are collated without asking for them."""
        if callable(self._spans):
            self._spans = self._spans()
        return self._spans

    @classmethod
    def from_ragged(
        cls,
        ragged: Ragged,
        *,
        record_ids: IntArray | None = None,
        spans: Ragged | None = None,
        width: int | None = None,
    ) -> RaggedBatch:
        """A batch over the rows of a `Ragged`, numbered from 0 unless `record_ids: int64[B]` says otherwise."""
        ids = np.arange(len(ragged)) if record_ids is None else np.asarray(record_ids, np.int64)
        if len(ids) != len(ragged) or (spans is not None and len(spans) != len(ragged)):
            raise InputError(f"record_ids and spans must have one entry for each of the {len(ragged)} rows")
        span_rows = None if spans is None else Rows.of(spans)
        return cls(
            ragged.values, ragged.offsets[:-1], ragged.lengths, record_ids=ids, spans=span_rows, width=width
        )

    def __getstate__(self) -> tuple[Any, ...]:
        """Like `Rows`, and everything else with them."""
        return super().__getstate__(), (self.record_ids, self.spans, self.width, self.packs, self.cuts)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        rows, (self.record_ids, self._spans, self.width, self.packs, self.cuts) = state
        super().__setstate__(rows)

    def __repr__(self) -> str:
        return f"RaggedBatch({len(self)} rows, {int(self.lengths.sum())} tokens, width={self.width})"
