"""Plans of batches of a fixed number of rows."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from fastcollate.plan.buckets.bucket_plan import Buckets
from fastcollate.plan.buckets.bucket_window import BucketWindow
from fastcollate.plan.order import TOGETHER, Landmark, PlannedBatch, Window
from fastcollate.plan.shares import Share
from fastcollate.plan.sorting import longest_between
from fastcollate.ragged import IntArray

__all__ = ["RowBuckets"]


@dataclass(frozen=True, kw_only=True)
class RowBuckets(Buckets):
    """`RowBuckets` plan batches of a fixed number of rows; see `Buckets` for the other fields.

    Where each window begins is known in closed form: nothing is counted.

    Attributes:
        batch_size: The rows of a batch.
    """

    kind = "row buckets"
    must_count = False
    batch_size: int

    @cached_property
    def num_windows(self) -> int:
        """Windows of near-equal size, none larger than `window` (or than one step, if that is larger)."""
        return max(1, min(-(-self.num_records // self.window), self._full_steps))

    @cached_property
    def _full_steps(self) -> int:
        return self.num_records // (self.group * self.batch_size)

    @property
    def _has_rest(self) -> bool:
        return not self.drop_last and self.num_records % (self.group * self.batch_size) > 0

    def room(self, width: int) -> int:  # noqa: ARG002  # as many rows at any width
        """Return how many rows a batch has."""
        return self.batch_size

    def tokens_per_batch(self, mean_length: float) -> float:
        """Return how many tokens a batch of records with `mean_length` tokens each has."""
        return self.batch_size * mean_length

    def landmark_of(self, window: int) -> Landmark:
        """Return where `window` begins."""
        steps = window * self._full_steps // self.num_windows + (window == self.num_windows and self._has_rest)
        return Landmark(window, steps * self.group)

    def plan_together(self, first: int, last: int) -> tuple[Window[PlannedBatch], IntArray]:
        """Return the batches of windows `first` to `last`, and how many each has: int64[M]."""
        large_steps = self.at_once == 1 and self.num_windows == self._full_steps
        if self.longest_first or not large_steps or (last == self.num_windows and self._has_rest):
            return super().plan_together(first, last)
        return OneStep(self, first), np.array([self.group])

    def after(self, here: Landmark, counts: IntArray) -> Landmark:
        """Return where the windows from `here` on end, which have `counts: int64[M]` batches."""
        return self.landmark_of(here.window + len(counts))

    def landmark_before(self, batch: int) -> Landmark:
        """Return the last landmark before global batch `batch`; the epoch's end is one."""
        windows = range(self.num_windows + 1)
        after = bisect_left(windows, batch, key=lambda window: self.landmark_of(window).batch)
        return self.landmark_of(max(0, after - 1))

    def cut(self, first: int, last: int) -> tuple[BucketWindow, IntArray]:
        """Return steps of `group * batch_size` records, and at the epoch's end one that is not full."""
        before = [window * self._full_steps // self.num_windows for window in range(first, last + 1)]
        edges = [steps * self.group * self.batch_size for steps in before]
        steps = np.diff(before)
        ids, lengths = self.longest_of(edges)
        starts = self.shuffled(first, steps) * self.batch_size
        stops, counts = starts + self.batch_size, steps * self.group
        if last == self.num_windows and self._has_rest:
            rest, rest_lengths = self.longest_of([edges[-1], self.num_records])
            dealt = len(ids) + np.arange(self.group + 1) * len(rest) // self.group
            ids, lengths = np.concatenate([ids, rest]), np.concatenate([lengths, rest_lengths])
            starts, stops = np.concatenate([starts, dealt[:-1]]), np.concatenate([stops, dealt[1:]])
            counts[-1] += self.group
        rows = np.full(len(starts), self.batch_size) if self.static else np.maximum(stops - starts, 1)
        longest = lengths[np.minimum(starts, len(lengths) - 1)] if len(lengths) else starts
        return BucketWindow(ids, starts, stops, rows, self.widths_for(longest)), counts


class OneStep(Window[PlannedBatch]):
    """`OneStep` is a window of a single large step, of which each of many ranks takes one batch.

    The first batch that is asked for is found among the unsorted records; a second has all of them sorted.
    """

    def __init__(self, plan: RowBuckets, number: int) -> None:
        self._plan, self._number, self._asked = plan, number, False
        self.starts = plan.shuffled(number, np.array([1])) * plan.batch_size
        self.stops = self.starts + plan.batch_size

    def __getitem__(self, number: int) -> PlannedBatch:
        """Return batch `number` of the window; a full step needs no filler rows."""
        if self._asked:
            return self._sorted[number]
        self._asked, plan = True, self._plan
        begin, end = (window * len(self) * plan.batch_size for window in (self._number, self._number + 1))
        edges = [*range(begin, end, TOGETHER), end]
        lengths = np.concatenate([plan.lengths_at(plan.order(*places)) for places in pairwise(edges)])
        chosen = longest_between(lengths, int(self.starts[number]), int(self.stops[number]))
        width = int(plan.widths_for(lengths[chosen[:1]])[0])
        return PlannedBatch(plan.records_at(begin + chosen), width or None)

    def share(self, numbers: IntArray) -> Share:
        """Return the batches `numbers: int64[C]` of the window as one share."""
        return self[int(numbers[0])].share() if len(numbers) == 1 else self._sorted.share(numbers)

    @property
    def record_ids(self) -> IntArray:
        """int64[N], the window's records, longest first."""
        return self._sorted.record_ids

    @cached_property
    def _sorted(self) -> BucketWindow:
        return self._plan.plan_window(self._number)
