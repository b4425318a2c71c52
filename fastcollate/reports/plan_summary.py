"""What a plan costs and what it gives: padding, shapes, how evenly ranks share the work, how full packs are."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcollate.plan.buckets.bucket_plan import Buckets
from fastcollate.plan.buckets.bucket_window import BucketWindow
from fastcollate.plan.pack_plans.pack_plan import PackPlan
from fastcollate.ragged import IntArray
from fastcollate.reports.idle_time import IdleTime

_BATCHES_AT_A_TIME = 1024

__all__ = ["BucketSummary", "PackSummary", "least_cells", "plain_cells", "summarise_buckets", "summarise_packs"]


@dataclass(frozen=True, slots=True)
class BucketSummary:
    """A `BucketSummary` counts one epoch of length buckets.

    Attributes:
        batches: The global batches; each rank gets `batches / group`.
        records, tokens, cells, fillers: What is delivered over all ranks; cells are rows times width.
        shapes: The batches of each (rows, width).
        rank_tokens: int64[group], the real tokens of each rank.
        waiting: The part of all ranks' cells by which the largest batch of each step exceeds the others.
        seconds: What planning the epoch took.
        planned: The records that were planned; those of a dropped step are not delivered.
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
    planned: int

    @property
    def padding(self) -> float:
        """The part of the cells that is padding."""
        return 1.0 - self.tokens / self.cells if self.cells else 0.0

    @property
    def rows_per_batch(self) -> int:
        """The records of a batch on average, rounded, at least 1."""
        return max(1, round(self.records / max(1, self.batches)))

    def facts(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        tokens = self.rank_tokens
        return {
            "records": self.records,
            "tokens": self.tokens,
            "batches": self.batches,
            "batches_per_rank": self.batches // len(tokens),
            "shapes": [[*shape, count] for shape, count in sorted(self.shapes.items())],
            "filler_rows": self.fillers,
            "rank_tokens": tokens.tolist(),
            "rank_spread": float(tokens.max() / tokens.mean() - 1) if tokens.any() else 0.0,
            "waiting": self.waiting,
            "planning_seconds": self.seconds,
            "planning_nanoseconds_per_record": self.seconds / self.planned * 1e9,
        }


def summarise_buckets(plan: Buckets) -> BucketSummary:
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
        real = int(window.real_rows.sum())
        batches, records, cells = batches + len(window), records + real, cells + int(sizes.sum())
        fillers += int(window.rows.sum()) - real
        longest_steps += int(sizes.max(axis=1).sum()) * plan.group
    return BucketSummary(
        batches=batches,
        records=records,
        tokens=int(rank_tokens.sum()),
        cells=cells,
        fillers=fillers,
        shapes=shapes,
        rank_tokens=rank_tokens,
        waiting=1.0 - cells / longest_steps if longest_steps else 0.0,
        seconds=seconds,
        planned=plan.num_records,
    )


def _tokens_of(window: BucketWindow, plan: Buckets) -> IntArray:
    """int64[len(window)]: real tokens of each batch."""
    running = np.concatenate([[0], np.cumsum(plan.lengths_at(window.record_ids))])
    tokens: IntArray = running[window.stops] - running[window.starts]
    return tokens


def plain_cells(plan: Buckets, rows: int) -> int:
    """Return the cells of the plain loop: the same shuffle cut into batches of `rows` records, nothing sorted."""
    cells = 0
    for begin in range(0, plan.num_records, rows * _BATCHES_AT_A_TIME):
        end = min(begin + rows * _BATCHES_AT_A_TIME, plan.num_records)
        lengths = plan.lengths_at(plan.order(begin, end))
        starts = np.arange(0, len(lengths), rows)
        widest = np.maximum.reduceat(lengths, starts)
        cells += int((widest * np.diff(np.append(starts, len(lengths)))).sum())
    return cells


def least_cells(plan: Buckets, lengths: IntArray, counts: IntArray) -> int:
    """Return the fewest cells that full batches of this plan's size need.

    With static widths each record is in its own; else all records are sorted at once, longest first.

    Args:
        plan: The plan whose widths and sizes are taken.
        lengths: The distinct lengths of the records, rising: int64[M].
        counts: How many records have each length: int64[M].
    """
    if plan.widths is not None:
        return int((np.asarray(plan.widths)[np.searchsorted(plan.widths, lengths)] * counts).sum())
    below = np.cumsum(counts[::-1])  # records of this length or longer
    at, total, cells = 0, int(below[-1]), 0
    while at < total:
        width = int(lengths[::-1][np.searchsorted(below, at, side="right")])
        rows = min(plan.room(width), total - at)
        # as many equal batches at once as have this width at their first row
        same = max(1, (int(below[np.searchsorted(below, at, side="right")]) - at - 1) // rows + 1)
        rows_here = min(rows * same, total - at)
        cells += rows_here * width
        at += rows_here
    return cells


@dataclass(frozen=True, slots=True)
class PackSummary:
    """A `PackSummary` counts one epoch of packs.

    Attributes:
        batches: The global batches; each rank gets `batches / group`.
        packs, documents, tokens: What is delivered over all ranks.
        rows: The packs, and the empty ones of ranks that get none.
        length: The tokens of a full pack.
        group: The ranks that share the batches.
        seconds: What planning the epoch took.
        planned: The records that were planned; those of a dropped step are not delivered.
    """

    batches: int
    packs: int
    rows: int
    documents: int
    tokens: int
    length: int
    group: int
    seconds: float
    planned: int

    def facts(self) -> dict[str, Any]:
        """Return the counts as JSON, beside the packs that as many tokens need at least."""
        return {
            "records": self.planned,
            "tokens": self.tokens,
            "length": self.length,
            "packs": self.packs,
            "packs_lower_bound": -(-self.tokens // self.length),
            "ranks": self.group,
            "batches_per_rank": self.batches // self.group,
            "efficiency": self.tokens / max(1, self.rows * self.length),
            "documents_per_pack": self.documents / max(1, self.packs),
            "planning_seconds": self.seconds,
            "planning_nanoseconds_per_record": self.seconds / self.planned * 1e9,
        }


def summarise_packs(plan: PackPlan, idle: IdleTime | None = None) -> PackSummary:
    """Plan one epoch for `plan.group` ranks, window by window, and count; each window's steps go to `idle`."""
    batches = packs = rows = documents = tokens = 0
    seconds = 0.0
    for number in range(plan.num_windows):
        begun = time.perf_counter()
        window = plan.plan_window(number)
        seconds += time.perf_counter() - begun
        if idle is not None:
            idle.add(window, plan.group)
        edges, used = window.whole.packs.edges, window.whole.packs.used
        before = np.concatenate([[0], np.cumsum(used)])
        batches, packs = batches + len(window), packs + int(window.real_rows.sum())
        rows += int(np.maximum(window.real_rows, 1).sum())
        documents += int((edges[window.stops] - edges[window.starts]).sum())
        tokens += int((before[window.stops] - before[window.starts]).sum())
    return PackSummary(batches, packs, rows, documents, tokens, plan.length, plan.group, seconds, plan.num_records)
