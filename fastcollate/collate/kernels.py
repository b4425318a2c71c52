"""Padding without a Python loop over tokens: NumPy kernels that write into given buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.layout import NO_TAIL, RowLayout
from fastcollate.ragged import IntArray, Rows

__all__ = ["Target", "mark_real", "mark_spans", "place_rows"]

# Cells of padding a row above which slicing each row beats masking the whole rectangle (measured:
# benchmarks/bench_collate.py).
_WASTE_PER_ROW = 96


@dataclass(frozen=True, slots=True)
class Target:
    """One tensor to fill: `out` int64[B, T] gets each sequence from token `first` on, and `fill` elsewhere."""

    out: IntArray
    first: int
    fill: int


def place_rows(values: NDArray[Any], layout: RowLayout, targets: list[Target]) -> None:
    """Write every row into every target.

    Rows [1 2 3] and [4] with tail 9, shift 1, targets (first=0, fill=0) and (first=1, fill=-1):

        [[1 2 3]     [[2 3 9]
         [4 0 0]]     [9 -1 -1]]
    """
    rows = len(layout.starts)
    waste = rows * layout.columns - int(layout.real.sum())
    extent = layout.columns + layout.shift
    if waste <= _WASTE_PER_ROW * rows and len(values) >= extent:
        _place_rectangle(values, layout, targets, extent)
    else:
        _place_slices(values, layout, targets)
    if layout.tails is not None:
        for target in targets:
            _place_tails(layout, target)


def _place_rectangle(
    values: NDArray[Any], layout: RowLayout, targets: list[Target], extent: int
) -> None:
    """Copy `extent` values for each row, whatever follows it, then overwrite what is padding.

    `windows[s]` is `values[s:s + extent]`, an overlapping view, so `windows[starts]` is one memcpy a row.
    """
    starts = layout.starts if layout.lead is None else layout.starts - layout.lead
    size = values.itemsize
    windows = np.ndarray(
        (len(values) - extent + 1, extent), values.dtype, buffer=values.data, strides=(size, size)
    )
    inside = starts.clip(0, len(values) - extent)
    found = windows[inside]
    beyond = np.flatnonzero(inside != starts)
    for i in beyond.tolist():  # rows at either end of `values`: too close to it for a whole window
        lead = 0 if layout.lead is None else int(layout.lead[i])
        start, count = int(layout.starts[i]), int(layout.copied[i])
        found[i, lead : lead + count] = values[start : start + count]
    for target in targets:
        target.out[:] = found[:, target.first : target.first + layout.columns]
    if layout.shortest < layout.columns:
        region, padding = _padding(layout)
        for target in targets:
            np.copyto(target.out[:, region], target.fill, where=padding)


def _padding(layout: RowLayout) -> tuple[slice, NDArray[np.bool_]]:
    """The columns in which some row is padded, and where in them: bool[B, len(region)]."""
    ragged = layout.columns - layout.shortest
    if layout.lead is None:
        region = slice(layout.shortest, layout.columns)
        return region, np.arange(layout.shortest, layout.columns) >= layout.real[:, None]
    return slice(0, ragged), np.arange(ragged) < layout.lead[:, None]


def _place_slices(values: NDArray[Any], layout: RowLayout, targets: list[Target]) -> None:
    """One slice assignment a row and target: best where rows are long and their lengths differ."""
    width = layout.columns
    starts = layout.starts.tolist()
    begins = np.arange(0, len(starts) * width, width)
    if layout.lead is not None:
        begins = begins + layout.lead
    places = begins.tolist()
    for target in targets:
        target.out.fill(target.fill)
        flat, first = target.out.reshape(-1), target.first
        counts = np.minimum(np.maximum(layout.copied - first, 0), layout.real).tolist()
        for start, count, place in zip(starts, counts, places, strict=True):
            flat[place : place + count] = values[start + first : start + first + count]


def _place_tails(layout: RowLayout, target: Target) -> None:
    assert layout.tails is not None
    columns = layout.copied - target.first
    rows = np.flatnonzero((layout.tails != NO_TAIL) & (columns >= 0) & (columns < layout.real))
    lead = 0 if layout.lead is None else layout.lead[rows]
    target.out[rows, columns[rows] + lead] = layout.tails[rows]


def mark_real(layout: RowLayout, out: IntArray) -> None:
    """The attention mask: `out` int64[B, T] gets 1 where a row has a token and 0 where it is padded."""
    out.fill(1)
    if layout.shortest < layout.columns:
        region, padding = _padding(layout)
        np.copyto(out[:, region], 0, where=padding)


def mark_spans(spans: Rows, layout: RowLayout) -> NDArray[np.bool_]:
    """bool[B, T]: which labels are inside a span of their row.

    Each span adds 1 where it starts and takes it away where it stops; the running sum is its inside:
    span (1, 3) of 4 columns: [0 1 0 -1] -> [0 1 1 0].
    """
    rows, extent = len(spans), layout.columns + layout.shift
    flat = spans.to_ragged()
    owner = np.repeat(np.arange(rows), flat.lengths // 2)
    moved = (0 if layout.lead is None else layout.lead) - layout.cut
    low = np.broadcast_to(np.asarray(layout.lead if layout.lead is not None else 0), rows)
    edges = np.zeros((rows, extent + 1), np.int8)
    for values, step in ((flat.values[::2], 1), (flat.values[1::2], -1)):
        places = values.astype(np.int64) + np.broadcast_to(moved, rows)[owner]
        np.add.at(edges, (owner, places.clip(low[owner], (low + layout.copied)[owner])), step)
    inside = np.cumsum(edges[:, :extent], axis=1, dtype=np.int8).astype(bool)
    if layout.tails is not None:
        ended = np.flatnonzero(layout.tails != NO_TAIL)
        inside[ended, low[ended] + layout.copied[ended]] = _tail_supervised(spans, layout)[ended]
    return inside[:, layout.shift :]


def _tail_supervised(spans: Rows, layout: RowLayout) -> NDArray[np.bool_]:
    """bool[B]: an appended end token is a target; one that was kept from the row is if a span reaches it."""
    if layout.appended:
        return np.ones(len(spans), bool)
    last = np.array([int(row[-1]) if len(row) else -1 for row in spans], np.int64)
    return last >= layout.stored
