"""One batch of plain rows, padded on the right: what most calls of a collator are, in as few steps as it takes.

A few rows are joined by Python's own slices, which are faster than setting NumPy up; more rows as a rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.kernels import Margin
from fastcollate.collate.staged import Built
from fastcollate.ragged import IntArray, RaggedBatch, Rows, Span, new_array

__all__ = ["PlainRows"]

_FEW = 64  # rows
_INT64 = np.dtype(np.int64)
_SMALL = 1 << 13  # cells: memory for as many is at hand
_KEPT = 1 << 12  # cells of padding that are kept, for most batches
_MOST = {np.dtype(kind): np.iinfo(kind).max for kind in (np.uint16, np.uint32, np.int64)}

_Arrays = tuple[IntArray, IntArray | None, IntArray | None]  # input_ids, attention_mask, labels


class PlainRows:
    """`PlainRows` pad the rows of a batch that has neither columns nor fillers and is not cut.

    Args:
        names: The tensors of a batch, `input_ids` first; or where `as_tuple` is True, of a tuple.
        as_tuple: Whether a tuple is made instead of a `Batch`.
        pad: What padding holds in `input_ids`.
        unlabelled: What padding holds in `labels`.
        counts_padding: Whether padding counts in the loss.
        end_token_id: The token appended to each row, or None.
        shift: 1 if labels are the next token, else 0.
        max_length: The most columns, or None.
        multiple: The number that the width is rounded up to a multiple of.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        as_tuple: bool,
        pad: int,
        unlabelled: int,
        counts_padding: bool,
        end_token_id: int | None,
        shift: int,
        max_length: int | None,
        multiple: int,
    ) -> None:
        self.names, self.as_tuple = names, as_tuple
        self.labels, self.mask = "labels" in names, "attention_mask" in names
        self.pad, self.unlabelled, self.counts_padding = pad, unlabelled, counts_padding
        self.end_token_id, self.shift = end_token_id, shift
        self.max_length, self.multiple = max_length, multiple
        self.more = (end_token_id is not None) - shift  # by how many a row's cells are more than its tokens
        written = [pad] if end_token_id is None else [pad, end_token_id]
        self.kinds = [dtype for dtype, most in _MOST.items() if min(written) >= 0 and max(written) <= most]

    def batch(self, batch: RaggedBatch) -> Built | None:
        """Return the padded batch in new memory; None if its rows are not plain."""
        rows = batch.tokens
        values, lengths = rows.values, rows.lengths.tolist()
        if batch.columns or batch.packs is not None or not lengths or 0 in lengths:
            return None
        if self.end_token_id is not None and min(batch.record_ids.tolist()) < 0:  # a filler row gets no end token
            return None
        width = self._columns(max(lengths), batch.width)
        if width == 0 or values.dtype not in self.kinds or not values.flags.c_contiguous:
            return None
        found = _rectangle(rows, width) if len(lengths) > _FEW else None
        arrays = self._few(rows, lengths, width) if found is None else self._many(rows, found, width)
        return self._built(batch, lengths, width, arrays)

    def _built(self, batch: RaggedBatch, lengths: list[int], width: int, arrays: _Arrays) -> Built:
        inputs, _, labels = arrays
        shape, make = (len(lengths), width), torch.from_numpy
        if self.as_tuple:
            assert labels is not None
            return make(inputs.reshape(shape)), make(labels.reshape(shape))
        tensors = (make(array.reshape(shape)) for array in arrays if array is not None)
        count = sum(lengths) + len(lengths) * self.more
        supervised = len(lengths) * width if self.counts_padding else count
        supervised = 0 if labels is None else supervised if self.shift else supervised - len(lengths)
        return Batch(zip(self.names, tensors, strict=True), make(batch.record_ids.copy()), count, supervised)

    def _columns(self, longest: int, width: int | None) -> int:
        """The width of the batch; 0 if a row does not fit it, or none has a cell."""
        columns, most = longest + self.more, self.max_length
        if most is None and width is None and self.multiple == 1:
            return columns
        if most is not None and columns > most:
            return 0
        if width is not None:
            if columns > width:
                return 0
            columns = width if most is None else min(width, most)
        return -(-columns // self.multiple) * self.multiple

    def _many(self, rows: Rows, cells: NDArray[Any], width: int) -> _Arrays:
        """Make inputs, labels and mask of cells with anything in their padding."""
        real = rows.lengths + self.more
        ends = np.arange(-1, len(cells) - 1, width) + real  # the last cell of each row
        inputs, targets = _widened(cells), None
        if self.end_token_id is not None and not self.shift:
            inputs[ends] = self.end_token_id
        if self.labels and self.shift:
            targets, end = new_array((len(cells),), _INT64), self.end_token_id
            targets[:-1] = cells[1:]
            if end is None:  # a row of one token has no label: its end is another row's
                some = np.flatnonzero(real)
                targets[ends[some]] = rows.values[(rows.starts + rows.lengths - 1)[some]]
            else:
                targets[ends] = end
        elif self.labels:
            targets = _widened(inputs)
        padding = Margin(real, width, left=False)
        padding.fill(inputs, self.pad)
        if targets is not None:
            padding.fill(targets, self.unlabelled)
        if not self.mask:
            return inputs, None, targets
        ones = new_array((len(cells),), _INT64)
        ones.fill(1)
        padding.fill(ones, 0)
        return inputs, ones, targets

    def _few(self, rows: Rows, lengths: list[int], width: int) -> _Arrays:
        """Make inputs, labels and mask row by row, in Python's own slices."""
        end, shift, count = self.end_token_id, self.shift, len(lengths) * width
        joined = np.frombuffer(self._joined(rows, lengths, width), rows.values.dtype)
        targets = ones = None
        if self.labels:
            targets = _widened(joined[1:] if shift else joined[:-1])
            more, first = (-1, end) if shift else (self.more, None)  # an end token is the last label of its row
            _fill_behind(targets, lengths, more, _filling(first, self.unlabelled, width + 1, _INT64))
            if shift and end is None:
                _set_ends(targets.data, rows.values.data, rows.starts.tolist(), lengths, width)
        if self.mask:
            ones = new_array((count,), _INT64)
            ones.fill(1)
            _fill_behind(ones, lengths, self.more, _filling(None, 0, width, _INT64))
        return _widened(joined[:-1]), ones, targets

    def _joined(self, rows: Rows, lengths: list[int], width: int) -> bytes:
        """The cells of all inputs and one more, in the dtype of the rows."""
        end, tokens = self.end_token_id, rows.values.data
        less = int(self.shift and end is None)  # the last token may be a label only
        room = width + less
        behind = _filling(None if self.shift else end, self.pad, room, rows.values.dtype)
        pieces = [
            piece
            for start, length in zip(rows.starts.tolist(), lengths, strict=True)
            for piece in (tokens[start : start + length - less], behind[: room - length])
        ]
        pieces.append(behind[:1])
        return b"".join(pieces)


def _rectangle(rows: Rows, width: int) -> NDArray[Any] | None:
    """The rows side by side, each with whatever follows it in its padding.

    None where a row lies too close to the end of the array: rare, and cheaper to meet than to seek.
    """
    span = Span.over([rows.values], rows.values.dtype)
    try:
        return None if span is None else span.rectangle(rows.starts, width)
    except IndexError:
        return None


def _widened(cells: NDArray[Any]) -> IntArray:
    """The same cells as int64: large arrays in memory that earlier ones have left."""
    if len(cells) < _SMALL:
        return cells.astype(_INT64)
    wide = new_array((len(cells),), _INT64)
    wide[:] = cells
    return wide


def _filling(first: int | None, rest: int, width: int, kind: np.dtype[Any]) -> memoryview:
    """At least so many cells of what padding holds; the first one may hold another value."""
    return _kept(first, rest, _KEPT if width <= _KEPT else 1 << width.bit_length(), kind)


@lru_cache(maxsize=32)
def _kept(first: int | None, rest: int, count: int, kind: np.dtype[Any]) -> memoryview:
    cells = np.full(count, rest, kind)
    if first is not None:
        cells[0] = first
    return cells.data


def _fill_behind(out: IntArray, lengths: list[int], more: int, filling: memoryview) -> None:
    """Fill each row's cells from `more` behind its end on."""
    cells, width, stop = out.data, len(out) // len(lengths), 0
    room = width - more
    for length in lengths:
        stop += width
        if length < room:
            count = room - length
            cells[stop - count : stop] = filling[:count]


def _set_ends(out: memoryview, tokens: memoryview, starts: list[int], lengths: list[int], width: int) -> None:
    """Put the last token of each row of two or more into its last cell, which is one before the token's place."""
    begin = 0
    for start, length in zip(starts, lengths, strict=True):
        if length > 1:
            out[begin + length - 2] = tokens[start + length - 1]
        begin += width
