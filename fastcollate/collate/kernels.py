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
        some = counts.nonzero()[0]
        begins, ends, counts = begins[some], ends[some], counts[some]
        total = int(np.add.reduce(counts))
        if total > _LONG * len(counts):
            self._slices = list(zip(begins.tolist(), ends.tolist(), strict=True))
        elif total:
            self._cells = rows_between(begins, counts)

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
    inputs, labels, mask = (arrays.get(name) for name in ("input_ids", "labels", "attention_mask"))
    padding, given = _padding_of(layout), parcel.columns.get("labels")
    tokens = None if inputs is None and given is not None else _gather(parcel.tokens, layout)
    if inputs is not None:
        assert tokens is not None
        np.copyto(inputs, tokens)
        _set_tails(layout, inputs)
        padding.fill(inputs, pad)
    if mask is not None:
        mask.fill(1)
        padding.fill(mask, 0)
    if labels is None:
        return
    if given is not None:
        np.copyto(labels, _gather(given, layout, ahead=layout.shift))
        _set_tails(layout.for_labels(given), labels, ahead=layout.shift)
    else:
        assert tokens is not None
        _set_labels(parcel.tokens, layout, tokens, labels)
    if given is not None or targets is None:
        padding.fill(labels, unlabelled)
    if targets is not None:
        outside(*targets, layout.cells).fill(labels, unlabelled)


def _gather(rows: Scattered, layout: RowLayout, *, ahead: int = 0) -> NDArray[Any]:
    """Return every row's sequence, from its value `ahead` on and without its tail, with anything in between.

    They keep their own dtype: a quarter of the bytes that they are widened to. Rows [1 2 3] and [4] with the tail
    9, and _ for anything:

        shift 0  [1 2 3 _  4 _ _ _]        shift 1  [1 2 3  4 _ _]        shift 1, ahead 1  [2 3 _  _ _ _]
    """
    copied, real, cut = layout.copied, layout.real, layout.cut
    if ahead or cut is not None or copied is not real or real is not rows.lengths:
        lengths = np.maximum(np.minimum(copied - ahead, real), 0)
        rows = rows.cut(ahead if cut is None else cut + ahead, lengths)
    return rows.laid_out(layout.places, layout.cells)


def _set_tails(layout: RowLayout, out: IntArray, *, ahead: int = 0) -> None:
    """Write the tails of sequences that begin `ahead` before their cells."""
    tails = layout.tails
    if tails is not None and ahead == layout.shift:
        numbers = tails.numbers()
        out[layout.places[numbers] + layout.copied[numbers] - ahead] = tails.tokens


def _set_labels(rows: Scattered, layout: RowLayout, tokens: NDArray[Any], out: IntArray) -> None:
    """Write the labels of every row into `out: int64[cells]`, with anything in the padding.

    They are the tokens themselves, or shifted by one, where each row's last label is no input:

        tokens [1 2 3  4 0 0], tail 9, shift 1  ->  [2 3 9  9 0 0]
    """
    if not layout.shift:
        np.copyto(out, tokens)
        _set_tails(layout, out)
        return
    np.copyto(out[:-1], tokens[1:])  # the last cell is padding, or the end of a row
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
