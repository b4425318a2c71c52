"""The batches of a window of length buckets: slices of its records, longest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastcollate.plan.order import PlannedBatch, Window
from fastcollate.plan.shares import Share
from fastcollate.ragged import IntArray, offsets_of, rows_between

__all__ = ["BucketWindow"]


@dataclass(frozen=True, slots=True)
class BucketWindow(Window[PlannedBatch]):
    """A `BucketWindow` holds batches of neighbours in length, filled up to the rows that were planned.

    Attributes:
        record_ids: int64[N], the window's records, longest first.
        starts, stops: int64[B] each; batch `i` has the records `record_ids[starts[i]:stops[i]]`.
        rows: int64[B], the rows of each batch, filler rows among them.
        widths: int64[B], the columns of each batch, or 0 where its longest row decides.
    """

    record_ids: IntArray
    starts: IntArray
    stops: IntArray
    rows: IntArray
    widths: IntArray

    def __getitem__(self, number: int) -> PlannedBatch:
        """Return batch `number` of the window, filled up with filler rows."""
        ids = self.record_ids[self.starts[number] : self.stops[number]]
        batch = PlannedBatch(ids, int(self.widths[number]) or None)
        rows = int(self.rows[number])
        return batch if rows == len(ids) else batch.filled(rows)

    def share(self, numbers: IntArray) -> Share:
        """Return the batches `numbers: int64[C]` of the window as one share, filled up with filler rows."""
        starts, rows = self.starts[numbers], self.rows[numbers]
        real = self.stops[numbers] - starts
        edges, widths = offsets_of(rows), self.widths[numbers]
        ids = self.record_ids[rows_between(starts, real)]
        if edges[-1] > len(ids):
            filled = np.full(edges[-1], -1)
            filled[rows_between(edges[:-1], real)] = ids
            ids = filled
        return Share(ids, edges, widths if widths.any() else None)

    def with_step(self, at: int, other: BucketWindow, first: int, group: int) -> BucketWindow:
        """Return the window with the `group` batches from `at` on taken from `other` from `first` on.

        Where `other` is this window, the two steps change places.
        """
        ids = self.record_ids if other is self else np.concatenate([self.record_ids, other.record_ids])
        moved = 0 if other is self else len(self.record_ids)
        columns = []
        for name in ("starts", "stops", "rows", "widths"):
            column, source = getattr(self, name).copy(), getattr(other, name)
            taken = source[first : first + group] + (moved if name in ("starts", "stops") else 0)
            if other is self:
                column[first : first + group] = source[at : at + group]
            column[at : at + group] = taken
            columns.append(column)
        return BucketWindow(ids, *columns)
