"""Padding without a Python loop over tokens: NumPy kernels that write into given buffers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.row_layout import RowLayout, Tails
from fastcollate.ragged import IntArray, Rows

__all__ = ["Target", "join_sequences", "place_rows", "take_rectangle"]


class Target(NamedTuple):
    """One tensor to fill: `out` int64[B, T] gets each sequence from token `first` on, and `fill` elsewhere."""

    out: IntArray
    first: int
    fill: int


def place_rows(
    values: NDArray[Any], layout: RowLayout, targets: list[Target], mask: IntArray | None = None
) -> None:
    """Write every row into every target, and into `mask` int64[B, T] 1 where there is a token, else 0.

    Rows [1 2 3] and [4] with tail 9, shift 1, targets (first=0, fill=0) and (first=1, fill=-1):

        [[1 2 3]     [[2  3  9]     mask [[1 1 1]
         [4 0 0]]     [9 -1 -1]]          [1 0 0]]
    """
    if layout.mostly_even and len(values) >= layout.columns + layout.shift:
        _place_rectangle(values, layout, targets, mask)
    else:
        _place_slices(values, layout, targets, mask)
    if layout.tails is None:
        return
    for target in targets:
        if target.first == layout.shift:  # where labels are shifted, inputs lack the tail
            _place_tails(layout, layout.tails, target.out)


def _place_rectangle(
    values: NDArray[Any], layout: RowLayout, targets: list[Target], mask: IntArray | None
) -> None:
    """Copy as many values for each row as the batch is wide, whatever follows it, then overwrite the padding."""
    found = take_rectangle(values, layout)
    if found is None:
        starts = layout.starts if layout.lead is None else layout.starts - layout.lead
        windows = _windows(values, layout)
        found = windows[starts.clip(0, len(windows) - 1)]
        _mend_ends(values, layout, found, np.flatnonzero((starts < 0) | (starts >= len(windows))))
    for out, first, _ in targets:
        out[:] = found[:, first : first + layout.columns]
    if mask is not None:
        mask.fill(1)
    if layout.shortest < layout.columns:
        region, padding = _padding(layout)
        for out, _, fill in targets if mask is None else [*targets, Target(mask, 0, 0)]:
            np.copyto(out[:, region], fill, where=padding)


def take_rectangle(values: NDArray[Any], layout: RowLayout) -> NDArray[Any] | None:
    """Return the rows as a rectangle `[B, T + shift]`, with whatever lies beside each row in its padding.

    None where a row lies too close to an end of `values`: rare, and cheaper to meet than to seek.
    """
    if len(values) < layout.columns + layout.shift:
        return None
    starts = layout.starts if layout.lead is None else layout.starts - layout.lead
    if layout.lead is not None and np.minimum.reduce(starts) < 0:
        return None
    try:
        found: NDArray[Any] = _windows(values, layout)[starts]
    except IndexError:
        return None
    return found


def _windows(values: NDArray[Any], layout: RowLayout) -> NDArray[Any]:
    """An overlapping view: row `s` is `values[s:s + T + shift]`, so that `windows[starts]` is one memcpy a row."""
    size, extent = values.itemsize, layout.columns + layout.shift
    return np.ndarray((len(values) - extent + 1, extent), values.dtype, values.data, strides=(size, size))


def _mend_ends(values: NDArray[Any], layout: RowLayout, found: NDArray[Any], numbers: IntArray) -> None:
    """Copy the rows that lie too close to either end of `values` for a whole window around them."""
    for i in numbers.tolist():
        lead = 0 if layout.lead is None else int(layout.lead[i])
        start, count = int(layout.starts[i]), int(layout.copied[i])
        found[i, lead : lead + count] = values[start : start + count]


def _padding(layout: RowLayout) -> tuple[slice, NDArray[np.bool_]]:
    """The columns in which some row is padded, and where in them: bool[B, len(region)].

    Columns are compared as 16-bit integers where they fit, four times as many at a time.
    """
    small: type[np.signedinteger[Any]] = np.int16 if layout.columns < 2**15 else np.int64
    if layout.lead is None:
        columns = np.arange(layout.shortest, layout.columns, dtype=small)
        return slice(layout.shortest, layout.columns), columns >= layout.real.astype(small)[:, None]
    columns = np.arange(layout.columns - layout.shortest, dtype=small)
    return slice(0, len(columns)), columns < layout.lead.astype(small)[:, None]


def _place_slices(values: NDArray[Any], layout: RowLayout, targets: list[Target], mask: IntArray | None) -> None:
    """One slice assignment a row and target: best where rows are long and their lengths differ."""
    starts, places = layout.starts.tolist(), _places(layout)
    for out, first, fill in targets:
        out.fill(fill)
        flat = out.reshape(-1)
        for start, count, place in zip(starts, _copied(layout, first), places, strict=True):
            flat[place : place + count] = values[start + first : start + first + count]
    if mask is not None:
        mask.fill(0)
        flat = mask.reshape(-1)
        for count, place in zip(layout.counts, places, strict=True):
            flat[place : place + count] = 1


def _copied(layout: RowLayout, first: int) -> list[int]:
    """How many tokens of each row go from `values` to a target that begins at token `first`."""
    if layout.tails is None or first < layout.shift:
        return layout.counts
    if layout.tails.rows is None:
        return [count - 1 for count in layout.counts]
    counts = layout.counts.copy()
    for row in layout.tails.numbers().tolist():
        counts[row] -= 1
    return counts


def _places(layout: RowLayout) -> list[int]:
    """Where each row begins in the flattened batch."""
    begins = range(0, len(layout.counts) * layout.columns, layout.columns)
    return list(begins if layout.lead is None else (np.array(begins) + layout.lead).tolist())


def _place_tails(layout: RowLayout, tails: Tails, out: IntArray) -> None:
    """Put the last token of each row after its others."""
    at_end = layout.lead is not None or layout.shortest == layout.columns  # all in the last column
    if at_end and tails.rows is None:
        out[:, layout.columns - 1] = tails.tokens
        return
    cells = np.arange(-1, out.size - 1, layout.columns) + (layout.columns if at_end else layout.real)
    out.reshape(-1)[cells if tails.rows is None else cells[tails.rows]] = tails.tokens


def join_sequences(rows: Rows, layout: RowLayout) -> NDArray[Any]:
    """Return the sequences side by side, tails included: in the rows' dtype, or int64 if a tail needs it."""
    kept = rows if layout.copied is rows.lengths else Rows(rows.values, layout.starts, layout.copied)
    if layout.tails is None:
        return kept.joined()
    tokens, dtype = layout.tails.tokens, rows.values.dtype
    limits = np.iinfo(dtype)
    if len(tokens) and not limits.min <= int(tokens.min()) <= int(tokens.max()) <= limits.max:
        dtype = np.dtype(np.int64)
        kept = Rows(kept.joined().astype(dtype), np.cumsum(kept.lengths) - kept.lengths, kept.lengths)
    parts = kept.slices()
    ends = tokens.astype(dtype).data
    for i, row in reversed(list(enumerate(layout.tails.numbers().tolist()))):
        parts.insert(row + 1, ends[i : i + 1])
    return np.frombuffer(b"".join(parts), dtype)
