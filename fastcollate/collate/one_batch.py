"""One batch of plain rows, padded on the right: what most calls of a collator are, in as few steps as it takes.

A few rows are copied by Python's own slices, which are faster than setting NumPy up; more rows as a rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.kernels import Margin
from fastcollate.collate.staged import Allocator
from fastcollate.ragged import IntArray, RaggedBatch, Rows

__all__ = ["PlainRows"]

_FEW = 16  # rows
_LIMITS = {np.dtype(kind): (np.iinfo(kind).min, np.iinfo(kind).max) for kind in (np.uint16, np.uint32, np.int64)}


class PlainRows(NamedTuple):
    """`PlainRows` say how rows are padded that have neither columns nor fillers and are not cut.

    Attributes:
        pad: What padding holds in `input_ids`.
        unlabelled: What padding holds in `labels`.
        end_token_id: The token appended to each row, or None.
        shift: 1 if labels are the next token, else 0.
        max_length: The most columns, or None.
        multiple: The number that the width is rounded up to a multiple of.
    """

    pad: int
    unlabelled: int
    end_token_id: int | None
    shift: int
    max_length: int | None
    multiple: int

    @property
    def more(self) -> int:
        """By how many a row's cells are more than its tokens."""
        return (self.end_token_id is not None) - self.shift

    def shape_of(self, batch: RaggedBatch) -> tuple[int, int] | None:
        """Return the shape of a batch, or None if its rows are not plain."""
        if batch.columns or min(batch.record_ids.tolist()) < 0:
            return None
        columns = max(batch.tokens.lengths.tolist()) + self.more
        limit = columns if self.max_length is None else self.max_length
        if not 0 < columns <= limit:
            return None
        if batch.width is not None:
            if columns > batch.width:
                return None
            columns = batch.width if self.max_length is None else min(batch.width, limit)
        return len(batch.record_ids), -(-columns // self.multiple) * self.multiple

    def fill(
        self, batch: RaggedBatch, shape: tuple[int, int], names: Sequence[str], allocate: Allocator
    ) -> dict[str, IntArray]:
        """Return `input_ids`, and `labels` and `attention_mask` if named, int64[B, T] each."""
        arrays = allocate(dict.fromkeys(names, (shape, np.int64)))
        inputs, labels, mask = arrays["input_ids"], arrays.get("labels"), arrays.get("attention_mask")
        rows = batch.tokens
        found = _rectangle(rows, shape[1]) if shape[0] > _FEW else None
        if found is None:
            self._place_few(rows, inputs, labels, mask)
        else:
            inputs[:] = found
            self._place_many(rows, inputs, labels, mask)
        return arrays

    def _place_many(self, rows: Rows, inputs: IntArray, labels: IntArray | None, mask: IntArray | None) -> None:
        """Of inputs with anything in their padding, make inputs, labels and mask."""
        count, width = inputs.shape
        real = rows.lengths + self.more
        ends = np.arange(-1, count * width - 1, width) + real  # the last cell of each row
        if self.end_token_id is not None and not self.shift:
            inputs.reshape(-1)[ends] = self.end_token_id
        if labels is not None and self.shift:
            cells, end = labels.reshape(-1), self.end_token_id
            cells[:-1] = inputs.reshape(-1)[1:]
            if end is None:  # a row of one token has no label: its end is another row's
                some = np.flatnonzero(real)
                cells[ends[some]] = rows.values[(rows.starts + rows.lengths - 1)[some]]
            else:
                cells[ends] = end
        elif labels is not None:
            labels[:] = inputs
        if mask is not None:
            mask.fill(1)
        padding = Margin(real, width, left=False)
        for array, value in ((inputs, self.pad), (labels, self.unlabelled), (mask, 0)):
            if array is not None:
                padding.fill(array, value)

    def _place_few(self, rows: Rows, inputs: IntArray, labels: IntArray | None, mask: IntArray | None) -> None:
        width, values, lengths = inputs.shape[1], rows.values, rows.lengths.tolist()
        least, most = _LIMITS[values.dtype]
        narrow = np.empty(inputs.size, values.dtype if least <= self.pad <= most else np.int64)
        narrow.fill(self.pad)
        same = narrow.dtype.char == values.dtype.char
        into: Any = narrow.data if same else narrow
        source: Any = values.data if same else values
        at, less, ends = 0, self.shift and self.end_token_id is None, list[int]()
        for start, length in zip(rows.starts.tolist(), lengths, strict=True):
            into[at : at + length - less] = source[start : start + length - less]
            ends.append(at + length + self.more)
            at += width
        cells = inputs.reshape(-1)
        cells[:] = narrow
        if self.end_token_id is not None and not self.shift:
            _set_ends(cells, ends, self.end_token_id)
        if labels is not None:
            targets = labels.reshape(-1)
            if self.shift:
                targets[:-1] = cells[1:]
                _set_ends(targets, ends, rows if self.end_token_id is None else self.end_token_id)
            else:
                targets[:] = cells
            _fill_behind(targets, ends, width, self.unlabelled)
        if mask is not None:
            mask.fill(1)
            _fill_behind(mask.reshape(-1), ends, width, 0)


def _rectangle(rows: Rows, width: int) -> NDArray[Any] | None:
    """The rows `[B, T]` with whatever follows each in its padding, one memcpy a row from an overlapping view.

    None where a row lies too close to the end of the array: rare, and cheaper to meet than to seek, as
    `Scattered.windows` does for several arrays.
    """
    values = rows.values
    size, places = values.itemsize, len(values) - width + 1
    if places < 1 or not values.flags.c_contiguous:
        return None
    try:
        found: NDArray[Any] = np.ndarray((places, width), values.dtype, values.data, 0, (size, size))[rows.starts]
    except IndexError:
        return None
    return found


def _set_ends(out: IntArray, ends: list[int], token: int | Rows) -> None:
    """Put a token, or each row's own last one, into the last cell of each row that has any."""
    cells = out.data
    if isinstance(token, int):
        for end in ends:
            cells[end - 1] = token
        return
    values, begin, width = token.values.data, 0, len(out) // len(ends)
    for end, stop in zip(ends, (token.starts + token.lengths).tolist(), strict=True):
        if end > begin:
            cells[end - 1] = values[stop - 1]
        begin += width


def _fill_behind(out: IntArray, ends: list[int], width: int, value: int) -> None:
    """Fill each row's cells from its end on."""
    cells, filling, stop = out.data, np.full(width, value).data, 0
    for end in ends:
        stop += width
        if end < stop:
            cells[end:stop] = filling[: stop - end]
