"""One batch of plain rows, padded on the right: what most calls of a collator are, in as few steps as it takes.

A few rows are joined by Python's own slices, which are faster than setting NumPy up; more rows as a rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.kernels import Margin
from fastcollate.collate.staged import Allocator
from fastcollate.ragged import IntArray, RaggedBatch, Rows, Span

__all__ = ["PlainRows"]

_FEW = 64  # rows
_INT64 = np.dtype(np.int64).char
_KEPT = 1 << 12  # cells of padding that are kept, for most batches
_MOST = {np.dtype(kind): np.iinfo(kind).max for kind in (np.uint16, np.uint32, np.int64)}


class PlainRows(NamedTuple):
    """`PlainRows` say how rows are padded that have neither columns nor fillers and are not cut.

    Attributes:
        pad: What padding holds in `input_ids`.
        unlabelled: What padding holds in `labels`.
        end_token_id: The token appended to each row, or None.
        shift: 1 if labels are the next token, else 0.
        max_length: The most columns, or None.
        multiple: The number that the width is rounded up to a multiple of.
        kinds: The dtypes of tokens among which padding and end token can be written.
    """

    pad: int
    unlabelled: int
    end_token_id: int | None
    shift: int
    max_length: int | None
    multiple: int
    kinds: list[np.dtype[Any]]

    @classmethod
    def of(
        cls,
        pad: int,
        unlabelled: int,
        *,
        end_token_id: int | None,
        shift: int,
        max_length: int | None,
        multiple: int,
    ) -> PlainRows:
        """Return how rows are padded; see the attributes."""
        written = [pad] if end_token_id is None else [pad, end_token_id]
        kinds = [dtype for dtype, most in _MOST.items() if min(written) >= 0 and max(written) <= most]
        return cls(pad, unlabelled, end_token_id, shift, max_length, multiple, kinds)

    @property
    def more(self) -> int:
        """By how many a row's cells are more than its tokens."""
        return (self.end_token_id is not None) - self.shift

    def fill(
        self, batch: RaggedBatch, names: Sequence[str], allocate: Allocator
    ) -> tuple[dict[str, IntArray], int] | None:
        """Return the arrays `names`, int64[B, T] each, and the cells with a token; None if the rows are not plain.

        The names are `input_ids`, and `labels` and `attention_mask` where they are wanted.
        """
        rows, lengths = batch.tokens, batch.tokens.lengths.tolist()
        if batch.columns or batch.packs is not None or not lengths or min(lengths) == 0:
            return None
        if min(batch.record_ids.tolist()) < 0:  # a filler row gets no end token
            return None
        columns = self._columns(max(lengths), batch.width)
        if columns == 0 or rows.values.dtype not in self.kinds or not rows.values.flags.c_contiguous:
            return None
        arrays = allocate(dict.fromkeys(names, ((len(lengths), columns), np.int64)))
        inputs, labels, mask = arrays["input_ids"], arrays.get("labels"), arrays.get("attention_mask")
        found = _rectangle(rows, columns) if len(lengths) > _FEW else None
        if found is None:
            self._place_few(rows, lengths, inputs, labels, mask)
        else:
            inputs.reshape(-1)[:] = found
            self._place_many(rows, inputs, labels, mask)
        return arrays, sum(lengths) + len(lengths) * self.more

    def _columns(self, longest: int, width: int | None) -> int:
        """The width of the batch; 0 if a row does not fit it, or none has a cell."""
        columns, most = longest + self.more, self.max_length
        if most is not None and columns > most:
            return 0
        if width is not None:
            if columns > width:
                return 0
            columns = width if most is None else min(width, most)
        return -(-columns // self.multiple) * self.multiple

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

    def _place_few(
        self, rows: Rows, lengths: list[int], inputs: IntArray, labels: IntArray | None, mask: IntArray | None
    ) -> None:
        values, width, end, shift = rows.values, inputs.shape[1], self.end_token_id, self.shift
        tokens, less = values.data, int(shift and end is None)  # the last token may be a label only
        behind = _filling(None if shift else end, self.pad, width, values.dtype.char)
        starts, pieces = rows.starts.tolist(), list[memoryview]()
        for start, length in zip(starts, lengths, strict=True):
            pieces.append(tokens[start : start + length - less])
            pieces.append(behind[: width - length + less])
        cells = inputs.reshape(-1)
        cells[:] = np.frombuffer(b"".join(pieces), values.dtype)
        if labels is not None:
            targets = labels.reshape(-1)
            if not shift:
                targets[:] = cells
                _fill_behind(targets, lengths, self.more, _filling(None, self.unlabelled, width, _INT64))
            elif end is not None:  # the end token stands in the last cell of each row
                targets[:-1] = cells[1:]
                _fill_behind(targets, lengths, -1, _filling(end, self.unlabelled, width + 1, _INT64))
            else:
                targets[:-1] = cells[1:]
                _fill_behind(targets, lengths, -1, _filling(None, self.unlabelled, width + 1, _INT64))
                _set_ends(targets.data, tokens, starts, lengths, width)
        if mask is not None:
            mask.fill(1)
            _fill_behind(mask.reshape(-1), lengths, self.more, _filling(None, 0, width, _INT64))


def _rectangle(rows: Rows, width: int) -> NDArray[Any] | None:
    """The rows side by side, each with whatever follows it in its padding.

    None where a row lies too close to the end of the array: rare, and cheaper to meet than to seek.
    """
    span = Span.over([rows.values], rows.values.dtype)
    try:
        return None if span is None else span.rectangle(rows.starts, width)
    except IndexError:
        return None


def _filling(first: int | None, rest: int, width: int, char: str) -> memoryview:
    """At least so many cells of what padding holds; the first one may hold another value."""
    return _kept(first, rest, -(-width // _KEPT) * _KEPT, char)


@lru_cache(maxsize=32)
def _kept(first: int | None, rest: int, count: int, char: str) -> memoryview:
    cells = np.full(count, rest, char)
    if first is not None:
        cells[0] = first
    return cells.data


def _fill_behind(out: IntArray, lengths: list[int], more: int, filling: memoryview) -> None:
    """Fill each row's cells from `more` behind its end on."""
    cells, width, stop = out.data, len(out) // len(lengths), 0
    for length in lengths:
        stop += width
        count = width - length - more
        if count:
            cells[stop - count : stop] = filling[:count]


def _set_ends(out: memoryview, tokens: memoryview, starts: list[int], lengths: list[int], width: int) -> None:
    """Put the last token of each row of two or more into its last cell, which is one before the token's place."""
    begin = 0
    for start, length in zip(starts, lengths, strict=True):
        if length > 1:
            out[begin + length - 2] = tokens[start + length - 1]
        begin += width
