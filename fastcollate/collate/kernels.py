"""Padding without a Python loop over tokens: NumPy kernels over the flat cells of one or many batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.row_layout import RowLayout
from fastcollate.ragged import IntArray, Scattered

__all__ = ["Stretches", "join_sequences", "outside", "place_rows", "shift_rows"]

_LONG = 40  # cells: longer stretches are filled slice by slice, shorter ones cell by cell


class Stretches:
    """Stretches of cells that are filled with a value, in one array or several: short ones cell by cell, long ones
    slice by slice.

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
            shifts = begins - counts.cumsum()
            shifts += counts
            cells = shifts.repeat(counts)
            cells += np.arange(total)
            self._cells = cells
            return
        some = counts > 0
        self._slices = list(zip(begins[some].tolist(), ends[some].tolist(), strict=True))

    def fill(self, out: IntArray, value: int) -> None:
        """Fill the stretches of `out: int64[cells]` with `value`."""
        if self._cells is not None:
            out[self._cells] = value
        elif self._slices:
            for begin, end in self._slices:
                out[begin:end].fill(value)


def place_rows(
    rows: Scattered, layout: RowLayout, out: IntArray, fill: int, padding: Stretches, *, ahead: int = 0
) -> None:
    """Write every row's sequence, from its value `ahead` on, into `out: int64[cells]`, and `fill` elsewhere.

    Rows are copied in their own dtype into one buffer, and widened all at once. Rows [1 2 3] and [4] with the tail
    9 and fill 0:

        shift 0  [1 2 3 9  4 9 0 0]        shift 1  [1 2 3  4 0 0]        shift 1, ahead 1  [2 3 9  9 0 0]
    """
    tails, begins = layout.tails, ahead if layout.cut is None else layout.cut + ahead
    found = _rectangle(rows, layout, begins)
    if found is None:
        found = np.empty(layout.cells, rows.dtype)
        lengths = np.minimum(layout.copied - ahead, layout.real)
        rows.cut(begins, np.maximum(lengths, 0) if ahead else lengths).copy_into(found, layout.places)
    np.copyto(out, found)
    padding.fill(out, fill)
    if tails is not None and ahead == layout.shift:
        numbers = tails.numbers()
        out[layout.places[numbers] + layout.copied[numbers] - ahead] = tails.tokens


def _rectangle(rows: Scattered, layout: RowLayout, begins: IntArray | int) -> NDArray[Any] | None:
    """The cells of one batch whose rows lie in one array, with whatever lies beside each row in its padding.

    They are gathered by one memcpy a row from an overlapping view: its row `s` is `values[s:s + T]`. None where
    there are several, or a row lies too close to an end of the array: rare, and cheaper to meet than to seek.
    """
    if rows.homes is not None or len(layout.counts) > 1:
        return None
    values, width = rows.buffers[0], layout.columns[0]
    starts = rows.starts + begins
    if layout.left:
        starts = starts - (layout.places - layout.first)
    if len(values) < width or not values.flags.c_contiguous or (layout.left and np.minimum.reduce(starts) < 0):
        return None
    size = values.itemsize
    windows = np.ndarray((len(values) - width + 1, width), values.dtype, values.data, strides=(size, size))
    try:
        found: NDArray[Any] = windows[starts]
    except IndexError:
        return None
    return found.reshape(-1)


def shift_rows(rows: Scattered, layout: RowLayout, inputs: IntArray, out: IntArray) -> None:
    """Write the labels of every row into `out: int64[cells]`, with anything in the padding.

    They are the cells of `inputs` themselves, or shifted by one, where each row's last label is no input:

        inputs [1 2 3  4 0 0], tail 9, shift 1  ->  [2 3 9  9 0 0]
    """
    if not layout.shift:
        np.copyto(out, inputs)
        return
    np.copyto(out[:-1], inputs[1:])
    out[-1:] = inputs[-1:]
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
    joined = np.empty(int(ends[-1]), dtype)
    rows.cut(0 if layout.cut is None else layout.cut, layout.copied).copy_into(joined, ends - lengths)
    if tails is not None:
        joined[ends[tails.numbers()] - 1] = tails.tokens
    return joined
