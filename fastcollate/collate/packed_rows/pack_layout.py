"""Where each document of some batches of packs goes: lengths and packs only, no token is read."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.kernels import Stretches
from fastcollate.errors import CollateError
from fastcollate.ragged import Capacity, IntArray, Packs, Parcel, Scattered, offsets_of, steps_between

__all__ = ["PackLayout", "lay_out_flat", "lay_out_packs"]

_SMALL = 1 << 16
_ANY = Capacity()
_TELL = "plan for it: a StreamLoader does, and before a DataLoader call dataset.plan_for(collator)"


class PackLayout(NamedTuple):
    """Where documents go in the cells of some batches, which are numbered through.

    Letters: D, the documents of all batches; P, their rows, each with a gap after it; C, the number of batches.

    Attributes:
        begins: The first cell of each document, int64[D].
        numbers: The number of each document in its row, from 0, int64[D].
        padded: The cells of each document, those of its padding included, int64[D]; None where nothing pads them.
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
    padded: IntArray | None
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

    def gaps(self, lengths: IntArray) -> Stretches:
        """Return the cells without a token, of documents that have `lengths: int64[D]` tokens."""
        if self.padded is None:
            return Stretches(self.gap_begins, self.gap_ends)
        begins = np.concatenate([self.begins + lengths, self.gap_begins])
        return Stretches(begins, np.concatenate([self.begins + self.padded, self.gap_ends]))

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


def lay_out_packs(parcel: Parcel, multiple_of: int = 1) -> tuple[Parcel, PackLayout]:
    """Return where the documents of packs go that are rows of their batches.

    Where the parcel has no packs it is one batch, each row a pack; a filler row is a pack without a document.

    Args:
        parcel: The documents.
        multiple_of: The number that the cells of each document are rounded up to a multiple of.

    Raises:
        CollateError: Padded documents do not fit a pack, or a pack is no multiple of cells.
    """
    packs, pack_edges = parcel.packs, parcel.pack_edges
    if packs is None or pack_edges is None:
        count = len(parcel.record_ids)
        parcel = _without_fillers(parcel)
        edges = np.minimum(np.arange(count + 1), len(parcel.record_ids))
        width = None if parcel.widths is None else int(parcel.widths[0])
        padded = _rounded(parcel.tokens.lengths, multiple_of)
        packs, pack_edges = Packs.of(parcel.tokens.lengths, edges, width), np.array([0, count])
        if width is None:
            packs = packs._replace(width=int(padded.max(initial=multiple_of)))
    if multiple_of > 1:
        packs = _padded_packs(packs, _rounded(parcel.tokens.lengths, multiple_of), multiple_of)
    tokens = offsets_of(parcel.tokens.lengths)[parcel.edges]
    ends = np.arange(1, len(packs.used) + 1) * packs.width
    rows: list[int] = (pack_edges[1:] - pack_edges[:-1]).tolist()
    return parcel, PackLayout(
        begins=packs.begins,
        numbers=packs.numbers,
        padded=None if multiple_of == 1 else _rounded(parcel.tokens.lengths, multiple_of),
        gap_begins=ends - packs.width + packs.used,
        gap_ends=ends,
        edges=parcel.edges,
        counts=parcel.edges[1:] - parcel.edges[:-1],
        is_small=packs.width < _SMALL,
        num_tokens=tokens[1:] - tokens[:-1],
        rows=rows,
        columns=[packs.width] * len(rows),
    )


def lay_out_flat(parcel: Parcel, capacity: Capacity = _ANY) -> tuple[Parcel, PackLayout]:
    """Return where documents go that are laid end to end in one row for each batch.

    Args:
        parcel: The documents.
        capacity: What a batch has room for; any number of documents and cells by default.

    Raises:
        CollateError: A batch has more documents, or more cells, than there is room for.
    """
    parcel = _without_fillers(parcel)
    edges, multiple = parcel.edges, capacity.multiple_of
    padded = _rounded(parcel.tokens.lengths, multiple)
    before, tokens = offsets_of(padded), offsets_of(parcel.tokens.lengths)[edges]
    counts, used = edges[1:] - edges[:-1], before[edges[1:]] - before[edges[:-1]]
    if capacity.total is None:
        cells = np.maximum(used, multiple)  # a batch of fillers has a cell too
    else:
        _check_room(parcel, used, counts, capacity)
        cells = np.full(len(counts), capacity.total)
    ends = cells.cumsum()
    return parcel, PackLayout(
        begins=before[:-1] + (ends - cells - before[edges[:-1]]).repeat(counts),
        numbers=np.arange(edges[-1]) - edges[:-1].repeat(counts),
        padded=None if multiple == 1 else padded,
        gap_begins=ends - cells + used,
        gap_ends=ends,
        edges=edges,
        counts=counts,
        is_small=int(cells.max()) < _SMALL,
        num_tokens=tokens[1:] - tokens[:-1],
        rows=[1] * len(counts),
        columns=cells.tolist(),
    )


def _rounded(lengths: IntArray, multiple: int) -> IntArray:
    return lengths if multiple == 1 else -(-lengths // multiple) * multiple


def _padded_packs(packs: Packs, lengths: IntArray, multiple: int) -> Packs:
    """The same packs of documents that are padded to these lengths."""
    if packs.width % multiple:
        raise CollateError(
            f"a pack has {packs.width} cells, no multiple of multiple_of={multiple}: pack with a length that is"
        )
    try:
        return Packs.of(lengths, packs.edges, packs.width)
    except CollateError:
        raise CollateError(
            f"the documents of a pack have more than its {packs.width} cells when each is padded to "
            f"multiple_of={multiple}: {_TELL}"
        ) from None


def _check_room(parcel: Parcel, used: IntArray, counts: IntArray, capacity: Capacity) -> None:
    lengths, total, documents = parcel.tokens.lengths, capacity.total or 0, capacity.documents or 0
    if int(lengths.max(initial=0)) > total:
        row = int(lengths.argmax())
        raise CollateError(
            f"row {row} has {lengths[row]} tokens, more than total={total}: raise total, or cut the row"
        )
    for name, found, most in (("cells", used, total), ("documents", counts, documents)):
        if int(found.max()) > most:
            option = "total" if name == "cells" else name
            raise CollateError(
                f"a batch has {found.max()} {name}, more than {option}={most}: raise it, or {_TELL}"
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
