"""Padding without a Python loop over tokens: NumPy kernels that write into given buffers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.row_layout import NO_TAIL, RowLayout
from fastcollate.ragged import IntArray, Rows

__all__ = ["Target", "inside_runs", "join_sequences", "mark_runs", "place_rows", "span_runs", "take_rectangle"]


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
    if not (layout.mostly_even and len(values) >= layout.columns + layout.shift):
        _place_slices(values, layout, targets, mask)
        return
    _place_rectangle(values, layout, targets, mask)
    for target in targets:
        if layout.tails is not None and target.first == layout.shift:  # where labels are shifted, inputs lack it
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
    """[B, T + shift]: each row's values and, in its padding, whatever lies beside them.

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


def _mend_ends(values: NDArray[Any], layout: RowLayout, found: NDArray[Any], rows: IntArray) -> None:
    """Copy the rows that lie too close to either end of `values` for a whole window around them."""
    for i in rows.tolist():
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
        counts = _copied(layout, first)
        for start, count, place in zip(starts, counts, places, strict=True):
            flat[place : place + count] = values[start + first : start + first + count]
        if first == layout.shift and isinstance(layout.tails, int):
            for count, place in zip(counts, places, strict=True):
                flat[place + count] = layout.tails
        elif first == layout.shift and layout.tails is not None:
            _place_tails(layout, layout.tails, out)
    if mask is not None:
        mask.fill(0)
        flat = mask.reshape(-1)
        for count, place in zip(layout.counts, places, strict=True):
            flat[place : place + count] = 1


def _copied(layout: RowLayout, first: int) -> list[int]:
    """How many tokens of each row go from `values` to a target that begins at token `first`."""
    if isinstance(layout.tails, np.ndarray):
        counts: list[int] = np.minimum(np.maximum(layout.copied - first, 0), layout.real).tolist()
        return counts
    if layout.tails is None or first < layout.shift:
        return layout.counts
    return [count - 1 for count in layout.counts]


def _places(layout: RowLayout) -> list[int]:
    """Where each row begins in the flattened batch."""
    begins = range(0, len(layout.starts) * layout.columns, layout.columns)
    return list(begins if layout.lead is None else (np.array(begins) + layout.lead).tolist())


def _place_tails(layout: RowLayout, tails: IntArray | int, out: IntArray) -> None:
    """Put the last token of each row after its others."""
    if layout.lead is not None or (layout.shortest == layout.columns and isinstance(tails, int)):
        columns: IntArray | int = layout.columns - 1  # every row ends in the last column
    else:
        columns = layout.copied - layout.shift
    if isinstance(tails, int):
        out[np.arange(len(out)) if isinstance(columns, np.ndarray) else slice(None), columns] = tails
        return
    rows = np.flatnonzero(tails != NO_TAIL)
    out[rows, columns[rows] if isinstance(columns, np.ndarray) else columns] = tails[rows]


def join_sequences(values: NDArray[Any], layout: RowLayout) -> NDArray[Any]:
    """The sequences side by side, tails included: in the dtype of `values`, or int64 if a tail needs it."""
    rows = Rows(values, layout.starts, layout.copied)
    if layout.tails is None:
        return rows.joined()
    ends = np.broadcast_to(np.asarray(layout.tails), len(rows)).tolist()
    real = [end for end in ends if end != NO_TAIL]
    limits = np.iinfo(values.dtype)
    if real and not limits.min <= min(real) <= max(real) <= limits.max:
        flat = rows.to_ragged()
        rows = Rows(flat.values.astype(np.int64), flat.offsets[:-1], rows.lengths)
    dtype = rows.values.dtype
    parts: list[memoryview | bytes] = []
    for row, end in zip(rows.slices(), ends, strict=True):
        parts += [row] if end == NO_TAIL else [row, dtype.type(end).tobytes()]
    return np.frombuffer(b"".join(parts), dtype)


def span_runs(spans: Rows, layout: RowLayout) -> tuple[IntArray, IntArray]:
    """Where supervised tokens start and stop, int64[S] each, in the cells of sequences `columns + shift` wide.

    A tail that is a target is a run of its own.
    """
    rows, extent = len(spans), layout.columns + layout.shift
    begin = np.zeros(rows, np.int64) if layout.lead is None else layout.lead
    end = begin + layout.copied
    flat = spans.to_ragged()
    owner = np.repeat(np.arange(rows), flat.lengths // 2)
    least, most = (begin + layout.shift)[owner], end[owner]  # a row's first `shift` tokens are no labels
    moved = (begin - layout.cut)[owner]
    first = owner * extent
    starts, stops = (first + (flat.values[i::2].astype(np.int64) + moved).clip(least, most) for i in (0, 1))
    if layout.tails is None:
        return starts, stops
    ended = np.broadcast_to(np.asarray(layout.tails) != NO_TAIL, rows) & _tail_supervised(spans, layout)
    tails = (np.arange(rows) * extent + end)[ended]
    return np.concatenate([starts, tails]), np.concatenate([stops, tails + 1])


def mark_runs(starts: IntArray, stops: IntArray, layout: RowLayout) -> NDArray[np.bool_]:
    """bool[B, T]: which labels are inside a run; see `span_runs`."""
    rows, extent = len(layout.counts), layout.columns + layout.shift
    return inside_runs(starts, stops, rows * extent).reshape(rows, extent)[:, layout.shift :]


def inside_runs(starts: IntArray, stops: IntArray, cells: int) -> NDArray[np.bool_]:
    """bool[cells]: which cells lie in a run from `starts[i]` to `stops[i]`, int64[S] each; runs do not overlap.

    Each run adds 1 where it starts and takes it away where it stops; the running sum is its inside:
    run (1, 3) of 4 cells: [0 1 0 -1] -> [0 1 1 0].
    """
    edges = np.zeros(cells + 1, np.int8)
    np.add.at(edges, starts, 1)
    np.add.at(edges, stops, -1)
    return np.cumsum(edges[:-1], dtype=np.int8).astype(bool)


def _tail_supervised(spans: Rows, layout: RowLayout) -> NDArray[np.bool_]:
    """bool[B]: an appended end token is a target; one that was kept from the row is if a span reaches it."""
    if layout.appended:
        return np.ones(len(spans), bool)
    flat = spans.to_ragged()
    owner = np.repeat(np.arange(len(spans)), flat.lengths // 2)
    last = layout.stored[owner] - 1
    covers = (flat.values[::2] <= last) & (last < flat.values[1::2])
    return np.bincount(owner[covers], minlength=len(spans)) > 0
