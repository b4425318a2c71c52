"""Batches of packs, and the window of a plan that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from fastcollate.plan.order import PlannedBatch, Window
from fastcollate.plan.shares import Pieces, Share
from fastcollate.ragged import IntArray, Packs, offsets_of, rows_between

__all__ = ["PackedBatch", "PackedWindow"]


@dataclass(frozen=True, slots=True)
class PackedBatch(PlannedBatch):
    """A `PackedBatch` holds packs whose documents are `pieces`, one entry of `record_ids` for each.

    A filler row is an empty pack.
    """

    pieces: Pieces
    packs: Packs

    @property
    def rows(self) -> int:
        """Packs, empty ones among them."""
        return len(self.packs.used)

    @property
    def real_rows(self) -> int:
        """Packs that hold documents."""
        return int(np.count_nonzero(self.packs.used))

    def halves(self) -> tuple[Self, Self]:
        """Return the packs in two batches, the odd one in the first."""
        half = (self.rows + 1) // 2
        return self.part(0, half), self.part(half, self.rows)

    def filled(self, rows: int) -> Self:
        """Return the same batch with empty packs up to `rows`."""
        return type(self)(self.record_ids, self.width, self.pieces, self.packs.filled(rows))

    def share(self) -> Share:
        """Return the share that has this batch alone."""
        return Share.of_packs(self.pieces, self.packs, np.array([0, self.rows]))

    def part(self, first: int, last: int) -> Self:
        """Return the packs `first` to `last` as a batch."""
        pieces = self.pieces.at(slice(int(self.packs.edges[first]), int(self.packs.edges[last])))
        return type(self)(pieces.records, self.width, pieces, self.packs.part(first, last))


@dataclass(frozen=True, slots=True)
class PackedWindow(Window[PackedBatch]):
    """A `PackedWindow` holds batches of packs.

    Attributes:
        whole: All packs of the window, some of which no batch may have.
        starts, stops: int64[B] each; batch `i` has the packs `starts[i]` to `stops[i]`.
    """

    whole: PackedBatch
    starts: IntArray
    stops: IntArray

    def __getitem__(self, number: int) -> PackedBatch:
        """Return batch `number` of the window; one without a pack gets a filler row."""
        batch = self.whole.part(int(self.starts[number]), int(self.stops[number]))
        return batch if batch.rows else batch.filled(1)

    def share(self, numbers: IntArray) -> Share:
        """Return the batches `numbers: int64[C]` of the window as one share; one without a pack gets a filler."""
        starts, whole = self.starts[numbers], self.whole
        real = self.stops[numbers] - starts
        pack_edges, packs = offsets_of(np.maximum(real, 1)), rows_between(starts, real)
        firsts = whole.packs.edges[packs]
        held = whole.packs.edges[packs + 1] - firsts
        pieces = whole.pieces.at(rows_between(firsts, held))
        documents = np.zeros(pack_edges[-1], np.int64)
        documents[rows_between(pack_edges[:-1], real)] = held
        placed = Packs.of(pieces.lengths, offsets_of(documents), whole.packs.width)
        return Share.of_packs(pieces, placed, pack_edges)
