"""Padding without a Python loop over tokens: NumPy kernels over the flat cells of one or many batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.row_layout import RowLayout
from fastcollate.ragged import IntArray, Scattered

__all__ = ["fill_outside", "fill_stretches", "join_sequences", "place_rows", "shift_rows"]

_LONG = 40  # cells: longer stretches are filled slice by slice, shorter ones cell by cell


def place_rows(rows: Scattered, layout: RowLayout, out: IntArray, fill: int, *, ahead: int = 0) -> None:
    """Write every row's sequence, from its value `ahead` on, into `out: int64[cells]`, and `fill` elsewhere.

    Rows are copied in their own dtype, slice by slice, into one buffer, and widened all at once. Rows [1 2 3] and
    [4] with the tail 9 and fill 0:

        shift 0  [1 2 3 9  4 9 0 0]        shift 1  [1 2 3  4 0 0]        shift 1, ahead 1  [2 3 9  9 0 0]
    """
    limits = np.iinfo(rows.dtype)
    dtype = rows.dtype if limits.min <= fill <= limits.max else np.dtype(np.int64)
    narrow = out if dtype == out.dtype else np.empty(layout.cells, dtype)
    narrow.fill(fill)
    tails, begins = layout.tails, ahead if layout.cut is None else layout.cut + ahead
    lengths = np.minimum(layout.copied - ahead, layout.real)
    rows.cut(begins, np.maximum(lengths, 0) if ahead else lengths).copy_into(narrow, layout.places)
    if narrow is not out:
        np.copyto(out, narrow)
    if tails is not None and ahead == layout.shift:
        numbers = tails.numbers()
        out[layout.places[numbers] + layout.copied[numbers] - ahead] = tails.tokens


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


def fill_outside(out: IntArray, starts: IntArray, stops: IntArray, value: int) -> None:
    """Fill all cells of `out: int64[cells]` that lie in no run with `value`; the runs rise and do not overlap."""
    begins = np.concatenate([[0], stops])
    fill_stretches(out, begins, np.append(starts, len(out)), value)


def fill_stretches(out: IntArray, begins: IntArray, ends: IntArray, value: int) -> None:
    """Fill the cells from `begins[i]` to `ends[i]` of `out: int64[cells]` with `value`, for every i."""
    counts = ends - begins
    total = int(counts.sum())
    if not total:
        return
    if total <= _LONG * len(counts):
        before = counts.cumsum() - counts
        out[np.arange(total) + (begins - before).repeat(counts)] = value
        return
    some = np.flatnonzero(counts)
    filling, cells = np.full(int(counts.max()), value).data, out.data
    for begin, end, count in zip(begins[some].tolist(), ends[some].tolist(), counts[some].tolist(), strict=True):
        cells[begin:end] = filling[:count]


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
