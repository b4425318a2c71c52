"""Padding without a Python loop over tokens: NumPy kernels over the flat cells of one or many batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.row_layout import RowLayout
from fastcollate.ragged import IntArray, Parcel, Scattered, rows_between

__all__ = ["Filling", "Margin", "Stretches", "fill_batches", "join_sequences", "outside"]

_LONG = 40  # cells: longer stretches are filled slice by slice, shorter ones cell by cell
_ROWS = 16  # of a batch on average: so many are copied as a rectangle
_WIDE = 1 << 14  # cells: rows as wide as this are copied as fast one by one


class Filling(Protocol):
    """Cells that are filled with a value, in one array or several."""

    def fill(self, out: IntArray, value: int) -> None:
        """Fill the cells of `out: int64[cells]` with `value`."""
        ...


class Stretches:
    """Stretches of cells: short ones are filled cell by cell, long ones slice by slice.

    Args:
        begins: The first cell of each stretch, int64[M].
        ends: The cell after each stretch, int64[M]; a stretch may be empty.

    >>> cells = np.zeros(5, np.int64)
    >>> Stretches(np.array([0, 3]), np.array([1, 5])).fill(cells, 7)
    >>> cells
    array([7, 0, 0, 7, 7])
    """

    __slots__ = ("_cells", "_slices")

    def __init__(self, begins: IntArray, ends: IntArray) -> None:
        self._cells: IntArray | None = None
        self._slices: list[tuple[int, int]] = []
        counts = ends - begins
        total = int(np.add.reduce(counts))
        if not total:
            return
        if total <= _LONG * len(counts):
            self._cells = rows_between(begins, counts)
            return
        some = counts > 0
        self._slices = list(zip(begins[some].tolist(), ends[some].tolist(), strict=True))

    def fill(self, out: IntArray, value: int) -> None:
        """Fill the stretches of `out: int64[cells]` with `value`."""
        if self._cells is not None:
            out[self._cells] = value
        for begin, end in self._slices:
            out[begin:end].fill(value)


class Margin:
    """The padding of one batch, as a mask over the columns in which some row is padded.

    Columns are compared as 16-bit integers where they fit, four times as many at a time.

    >>> cells = np.zeros(6, np.int64)
    >>> Margin(np.array([3, 1]), 3, left=False).fill(cells, 7)
    >>> cells
    array([0, 0, 0, 0, 7, 7])
    """

    __slots__ = ("_columns", "_mask", "_region")

    def __init__(self, real: IntArray, columns: int, *, left: bool) -> None:
        """Args: `real: int64[B]`, the cells that each row fills; the width; whether padding lies on the left."""
        shortest = int(np.minimum.reduce(real))
        self._columns = columns
        self._mask: NDArray[np.bool_] | None = None
        self._region = slice(0, columns - shortest) if left else slice(shortest, columns)
        if shortest < columns:
            small: type[np.signedinteger[Any]] = np.int16 if columns < 2**15 else np.int64
            edge = (columns - real if left else real).astype(small)[:, None]
            column = np.arange(self._region.start, self._region.stop, dtype=small)
            self._mask = column < edge if left else column >= edge

    def fill(self, out: IntArray, value: int) -> None:
        """Fill the padding of `out: int64[B * T]` with `value`."""
        if self._mask is not None:
            np.copyto(out.reshape(-1, self._columns)[:, self._region], value, where=self._mask)


def _padding_of(layout: RowLayout) -> Filling:
    """Return the cells of all batches that hold no token."""
    if len(layout.counts) == 1:
        return Margin(layout.real, layout.columns[0], left=layout.left)
    return Stretches(*layout.padding())


def fill_batches(
    parcel: Parcel,
    layout: RowLayout,
    arrays: Mapping[str, IntArray],
    targets: tuple[IntArray, IntArray] | None,
    *,
    pad: int,
    unlabelled: int,
) -> None:
    """Fill those of `input_ids`, `labels` and `attention_mask` that are there, int64[cells] each.

    Args:
        parcel: The rows.
        layout: Where they go.
        arrays: The arrays to fill.
        targets: The first cells of the runs of labels that are targets, and the cells after them; None where all
            are.
        pad: What padding holds in `input_ids`.
        unlabelled: What `labels` hold at padding and at tokens that are no targets.
    """
    labels, mask, given = arrays.get("labels"), arrays.get("attention_mask"), parcel.columns.get("labels")
    inputs = arrays["input_ids"] if "input_ids" in arrays else np.empty(layout.cells, np.int64)
    padding = _padding_of(layout)
    _place_rows(parcel.tokens, layout, inputs, pad, padding)
    if mask is not None:
        mask.fill(1)
        padding.fill(mask, 0)
    if labels is None:
        return
    if given is not None:
        _place_rows(given, layout.for_labels(given), labels, unlabelled, padding, ahead=layout.shift)
    else:
        _shift_rows(parcel.tokens, layout, inputs, labels)
        if targets is None:
            padding.fill(labels, unlabelled)
    if targets is not None:
        outside(*targets, layout.cells).fill(labels, unlabelled)


def _place_rows(
    rows: Scattered, layout: RowLayout, out: IntArray, fill: int, padding: Filling, *, ahead: int = 0
) -> None:
    """Write every row's sequence, from its value `ahead` on, into `out: int64[cells]`, and `fill` elsewhere.

    Rows of large batches are copied as rectangles; those of small ones all in their own dtype, and widened at
    once. Rows [1 2 3] and [4] with the tail 9 and fill 0:

        shift 0  [1 2 3 9  4 9 0 0]        shift 1  [1 2 3  4 0 0]        shift 1, ahead 1  [2 3 9  9 0 0]
    """
    tails = layout.tails
    lengths = np.minimum(layout.copied - ahead, layout.real)
    if ahead:
        lengths = np.maximum(lengths, 0)
    copied = rows.cut(ahead if layout.cut is None else layout.cut + ahead, lengths)
    if not _place_rectangles(copied, layout, out):
        np.copyto(out, copied.laid_out(layout.places, layout.cells))
    padding.fill(out, fill)
    if tails is not None and ahead == layout.shift:
        numbers = tails.numbers()
        out[layout.places[numbers] + layout.copied[numbers] - ahead] = tails.tokens


def _place_rectangles(rows: Scattered, layout: RowLayout, out: IntArray) -> bool:
    """Write batch after batch as a whole, with whatever lies beside each row in its padding, if that pays."""
    counts, columns = layout.counts, layout.columns
    if len(layout.real) < _ROWS * len(counts) or max(columns) > _WIDE:
        return False
    span = rows.spanned().span
    if span is None:
        return False
    starts = rows.starts - (layout.places - layout.first) if layout.left else rows.starts
    whole = span.holds(rows.homes, starts, layout.stops - layout.first)
    places, lies = span.places(rows.homes, starts), np.logical_and.reduceat(whole, layout.edges[:-1]).tolist()
    row, cell = 0, 0
    for count, width, inside in zip(counts, columns, lies, strict=True):
        last, end = row + count, cell + count * width
        if inside:
            out[cell:end] = span.rectangle(places[row:last], width)
        else:
            out[cell:end] = rows.at(slice(row, last)).laid_out(layout.places[row:last] - cell, end - cell)
        row, cell = last, end
    if rows.bound is not None:
        rows.bound.check(out, layout.places, rows.lengths, rows.homes)
    return True


def _shift_rows(rows: Scattered, layout: RowLayout, inputs: IntArray, out: IntArray) -> None:
    """Write the labels of every row into `out: int64[cells]`, with anything in the padding.

    They are the cells of `inputs` themselves, or shifted by one, where each row's last label is no input:

        inputs [1 2 3  4 0 0], tail 9, shift 1  ->  [2 3 9  9 0 0]
    """
    if not layout.shift:
        np.copyto(out, inputs)
        return
    np.copyto(out[:-1], inputs[1:])  # the last cell is padding, or the end of a row
    ends = layout.places + layout.real - 1
    tails, copied = layout.tails, layout.copied
    if tails is not None and tails.rows is None:
        out[ends] = tails.tokens
        return
    last = np.flatnonzero(layout.real)
    if tails is not None:
        out[ends[tails.rows]] = tails.tokens
        last = np.setdiff1d(last, tails.numbers(), assume_unique=True)
    before = -1 if layout.cut is None else layout.cut[last] - 1
    out[ends[last]] = rows.values_at(last, copied[last] + before)


def outside(starts: IntArray, stops: IntArray, cells: int) -> Stretches:
    """Return the cells, of that many, that lie in no run; the runs rise and do not overlap."""
    return Stretches(np.concatenate([[0], stops]), np.append(starts, cells))


def join_sequences(rows: Scattered, layout: RowLayout) -> NDArray[Any]:
    """Return the sequences side by side, tails included: in the rows' dtype, or int64 if a tail needs it."""
    dtype, tails, lengths = rows.dtype, layout.tails, layout.sequences
    if tails is not None and len(tails.tokens):
        limits = np.iinfo(dtype)
        if not limits.min <= int(tails.tokens.min()) <= int(tails.tokens.max()) <= limits.max:
            dtype = np.dtype(np.int64)
    ends = lengths.cumsum()
    cut = rows.cut(0 if layout.cut is None else layout.cut, layout.copied)
    joined = cut.laid_out(ends - lengths, int(ends[-1])).astype(dtype, copy=False)
    if tails is not None:
        joined[ends[tails.numbers()] - 1] = tails.tokens
    return joined
