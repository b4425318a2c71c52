"""Where each document of some batches of packs goes: lengths and packs only, no token is read."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastcollate.collate.kernels import Stretches
from fastcollate.ragged import IntArray, Packs, Parcel, Scattered

__all__ = ["PackLayout", "lay_out_flat", "lay_out_packs"]


class PackLayout(NamedTuple):
    """Where documents go in the cells of some batches, which are numbered through.

    Letters: D, the documents of all batches; P, their rows, each with a gap after it; C, the number of batches.

    Attributes:
        begins: The first cell of each document, int64[D].
        numbers: The number of each document in its row, from 0, int64[D].
        gap_begins: The first cell of each gap, int64[P]; a gap may be empty.
        gap_ends: The cell after each gap, int64[P].
        edges: The documents of each batch, int64[C+1]; see `Parcel`.
        num_tokens: The cells of each batch that hold tokens, int64[C].
        rows: The rows of each batch.
        columns: The width of each batch.
    """

    begins: IntArray
    numbers: IntArray
    gap_begins: IntArray
    gap_ends: IntArray
    edges: IntArray
    num_tokens: IntArray
    rows: list[int]
    columns: list[int]

    @property
    def cells(self) -> int:
        """The number of cells of all batches together."""
        return int(self.gap_ends[-1])

    @property
    def counts(self) -> list[int]:
        """The documents of each batch."""
        found: list[int] = np.diff(self.edges).tolist()
        return found

    def gaps(self) -> Stretches:
        """Return the cells without a token."""
        return Stretches(self.gap_begins, self.gap_ends)

    def extents(self) -> IntArray:
        """Return the cells from each document to the next, int64[D]: gaps, also before the first, are counted.

        What is true of a document is repeated over its extent, and the gaps then overwritten.
        """
        extents = np.diff(self.begins, append=self.cells)
        extents[:1] += self.begins[:1]
        return extents


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
    before = np.concatenate([[0], packs.used.cumsum()])
    ends = np.arange(1, len(packs.used) + 1) * packs.width
    rows: list[int] = np.diff(pack_edges).tolist()
    return parcel, PackLayout(
        begins=packs.begins,
        numbers=packs.numbers,
        gap_begins=ends - packs.width + packs.used,
        gap_ends=ends,
        edges=parcel.edges,
        num_tokens=np.diff(before[pack_edges]),
        rows=rows,
        columns=[packs.width] * len(rows),
    )


def lay_out_flat(parcel: Parcel) -> tuple[Parcel, PackLayout]:
    """Return where documents go that are laid end to end in one row for each batch."""
    parcel = _without_fillers(parcel)
    edges, counts = parcel.edges, np.diff(parcel.edges)
    before = np.concatenate([[0], parcel.tokens.lengths.cumsum()])
    tokens = np.diff(before[edges])
    cells = np.maximum(tokens, 1)  # a batch of fillers has a cell too
    ends = cells.cumsum()
    return parcel, PackLayout(
        begins=before[:-1] + (ends - cells - before[edges[:-1]]).repeat(counts),
        numbers=np.arange(edges[-1]) - edges[:-1].repeat(counts),
        gap_begins=ends - cells + tokens,
        gap_ends=ends,
        edges=edges,
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
