"""What a plan costs and what it gives: padding, shapes, and how evenly ranks share the work."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fastcollate.plan.bucket_plan import EpochPlan, Window
from fastcollate.ragged import IntArray

_BATCHES_AT_A_TIME = 1024

__all__ = ["PlanSummary", "least_cells", "plain_cells", "summarise_plan"]


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """One epoch, counted.

    Attributes:
        batches: global batches; each rank gets `batches / group`.
        records, tokens, cells, fillers: delivered over all ranks; cells are rows times width.
        shapes: batches of each (rows, width).
        rank_tokens: int64[group], real tokens of each rank.
        waiting: the part of all ranks' cells by which the largest batch of each step exceeds the others.
        seconds: what planning the epoch took.
    """

    batches: int
    records: int
    tokens: int
    cells: int
    fillers: int
    shapes: Counter[tuple[int, int]]
    rank_tokens: IntArray
    waiting: float
    seconds: float

    @property
    def padding(self) -> float:
        """The part of the cells that is padding."""
        return 1.0 - self.tokens / self.cells if self.cells else 0.0


def summarise_plan(plan: EpochPlan) -> PlanSummary:
    """Plan one epoch for `plan.group` ranks, window by window, and count."""
    shapes: Counter[tuple[int, int]] = Counter()
    rank_tokens = np.zeros(plan.group, np.int64)
    batches = records = cells = fillers = longest_steps = 0
    seconds = 0.0
    for number in range(plan.num_windows):
        begun = time.perf_counter()
        window = plan.plan_window(number)
        seconds += time.perf_counter() - begun
        widths = plan.widths_of(window)
        sizes = (window.rows * widths).reshape(-1, plan.group)
        pairs, counts = np.unique(np.stack([window.rows, widths]), axis=1, return_counts=True)
        shapes.update(dict(zip(zip(*pairs.tolist(), strict=True), counts.tolist(), strict=True)))
        rank_tokens += _tokens_of(window, plan).reshape(-1, plan.group).sum(axis=0)
        real = int((window.stops - window.starts).sum())
        batches, records, cells = batches + len(window), records + real, cells + int(sizes.sum())
        fillers += int(window.rows.sum()) - real
        longest_steps += int(sizes.max(axis=1).sum()) * plan.group
    waiting = 1.0 - cells / longest_steps if longest_steps else 0.0
    tokens = int(rank_tokens.sum())
    return PlanSummary(batches, records, tokens, cells, fillers, shapes, rank_tokens, waiting, seconds)


def _tokens_of(window: Window, plan: EpochPlan) -> IntArray:
    """int64[len(window)]: real tokens of each batch."""
    running = np.concatenate([[0], np.cumsum(plan.lengths_at(window.record_ids))])
    tokens: IntArray = running[window.stops] - running[window.starts]
    return tokens


def plain_cells(plan: EpochPlan, rows: int) -> int:
    """Cells of the plain loop: the same shuffle cut into batches of `rows` records, nothing sorted."""
    cells = 0
    for begin in range(0, plan.num_records, rows * _BATCHES_AT_A_TIME):
        end = min(begin + rows * _BATCHES_AT_A_TIME, plan.num_records)
        lengths = plan.lengths_at(plan.order(begin, end))
        starts = np.arange(0, len(lengths), rows)
        widest = np.maximum.reduceat(lengths, starts)
        cells += int((widest * np.diff(np.append(starts, len(lengths)))).sum())
    return cells


def least_cells(plan: EpochPlan, lengths: IntArray, counts: IntArray) -> int:
    """The fewest cells that full batches of this plan's size need, from the length histogram: int64[M] each.

    With static widths each record in its own; else all records sorted at once, longest first.
    """
    if plan.widths is not None:
        return int((np.asarray(plan.widths)[np.searchsorted(plan.widths, lengths)] * counts).sum())
    below = np.cumsum(counts[::-1])  # records of this length or longer
    at, total, cells = 0, int(below[-1]), 0
    while at < total:
        width = int(lengths[::-1][np.searchsorted(below, at, side="right")])
        rows = min(plan.batch_size or plan.max_tokens // width, total - at)  # type: ignore[operator]
        # as many equal batches at once as have this width at their first row
        same = max(1, (int(below[np.searchsorted(below, at, side="right")]) - at - 1) // rows + 1)
        rows_here = min(rows * same, total - at)
        cells += rows_here * width
        at += rows_here
    return cells
