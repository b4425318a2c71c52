"""Where each document of some batches of packs goes: lengths and packs only, no token is read."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.kernels import Stretches
from fastcollate.ragged import IntArray, Packs, Parcel, Scattered, offsets_of, steps_between

__all__ = ["PackLayout", "lay_out_flat", "lay_out_packs"]

_SMALL = 1 << 16


class PackLayout(NamedTuple):
    """Where documents go in the cells of some batches, which are numbered through.

    Letters: D, the documents of all batches; P, their rows, each with a gap after it; C, the number of batches.

    Attributes:
        begins: The first cell of each document, int64[D].
        numbers: The number of each document in its row, from 0, int64[D].
        gap_begins: The first cell of each gap, int64[P]; a gap may be empty.
        gap_ends: The cell after each gap, int64[P].
        edges: The documents of each batch, int64[C+1]; see `Parcel`.
        counts: The number of documents of each batch, int64[C].
        is_small: Whether every document, and the number of each in its row, is below 65,536.
        num_tokens: The cells of each batch that hold tokens, int64[C].
        rows: The rows of each batch.
        columns: The width of each batch.
    """

    begins: IntArray
    numbers: IntArray
    gap_begins: IntArray
    gap_ends: IntArray
    edges: IntArray
    counts: IntArray
    is_small: bool
    num_tokens: IntArray
    rows: list[int]
    columns: list[int]

    @property
    def cells(self) -> int:
        """The number of cells of all batches together."""
        return int(self.gap_ends[-1])

    def gaps(self) -> Stretches:
        """Return the cells without a token."""
        return Stretches(self.gap_begins, self.gap_ends)

    def spread(self, values: IntArray) -> NDArray[np.uint16] | IntArray:
        """Return one value a document in each of its cells and of the gap after it: [cells].

        They are written as uint16, several times as fast, where all documents are shorter and fewer than 65,536:
        larger values lose what makes them so, and their differences within a document are right.
        """
        narrow = values.astype(np.uint16) if self.is_small else values
        if len(narrow) == 0:
            return np.zeros(self.cells, narrow.dtype)
        extents = steps_between(self.begins, self.cells)
        extents[0] += self.begins[0]  # before it are gaps, of empty packs
        return narrow.repeat(extents)


def lay_out_packs(parcel: Parcel) -> tuple[Parcel, PackLayout]:
    """Return where the documents of packs go that are rows of their batches.

    Where the parcel has no packs it is one batch, each row a pack; a filler row is a pack without a document.
    """
    packs, pack_edges = parcel.packs, parcel.pack_edges
    if packs is None or pack_edges is None:
        count = len(parcel.record_ids)
        parcel = _without_fillers(parcel)
        edges = np.minimum(np.arange(count + 1), len(parcel.record_ids))
        width = None if parcel.widths is None else int(parcel.widths[0])
        packs, pack_edges = Packs.of(parcel.tokens.lengths, edges, width), np.array([0, count])
    tokens = offsets_of(packs.used)[pack_edges]
    ends = np.arange(1, len(packs.used) + 1) * packs.width
    rows: list[int] = (pack_edges[1:] - pack_edges[:-1]).tolist()
    return parcel, PackLayout(
        begins=packs.begins,
        numbers=packs.numbers,
        gap_begins=ends - packs.width + packs.used,
        gap_ends=ends,
        edges=parcel.edges,
        counts=parcel.edges[1:] - parcel.edges[:-1],
        is_small=packs.width < _SMALL,
        num_tokens=tokens[1:] - tokens[:-1],
        rows=rows,
        columns=[packs.width] * len(rows),
    )


def lay_out_flat(parcel: Parcel) -> tuple[Parcel, PackLayout]:
    """Return where documents go that are laid end to end in one row for each batch."""
    parcel = _without_fillers(parcel)
    edges, before = parcel.edges, offsets_of(parcel.tokens.lengths)
    counts, tokens = edges[1:] - edges[:-1], before[edges[1:]] - before[edges[:-1]]
    cells = np.maximum(tokens, 1)  # a batch of fillers has a cell too
    ends = cells.cumsum()
    return parcel, PackLayout(
        begins=before[:-1] + (ends - cells - before[edges[:-1]]).repeat(counts),
        numbers=np.arange(edges[-1]) - edges[:-1].repeat(counts),
        gap_begins=ends - cells + tokens,
        gap_ends=ends,
        edges=edges,
        counts=counts,
        is_small=int(cells.max()) < _SMALL,
        num_tokens=tokens,
        rows=[1] * len(counts),
        columns=cells.tolist(),
    )


def _without_fillers(parcel: Parcel) -> Parcel:
    """The rows that hold a record."""
    real = parcel.tokens.lengths > 0
    if real.all():
        return parcel
    some, before = np.flatnonzero(real), np.concatenate([[0], real.cumsum()])

    def kept(rows: Scattered) -> Scattered:
        return rows.at(some)

    return replace(
        parcel,
        tokens=kept(parcel.tokens),
        record_ids=parcel.record_ids[some],
        edges=before[parcel.edges],
        columns={name: kept(column) for name, column in parcel.columns.items()},
        cuts=None if parcel.cuts is None else parcel.cuts[some],
    )
