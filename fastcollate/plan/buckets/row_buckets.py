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
        """Windows of near-equal size, none larger than `window` a lane (or than one unit, if that is larger)."""
        return max(1, min(-(-self.num_records // (self.window * self.lanes)), self._full_units))

    @cached_property
    def _full_units(self) -> int:
        return self.num_records // (self.unit * self.batch_size)

    @cached_property
    def _rest_steps(self) -> int:
        """The steps of what is left at the epoch's end, without lanes; the last may not be full."""
        steps, left = divmod(self.num_records % (self.unit * self.batch_size), self.group * self.batch_size)
        return steps + (left > 0 and not self.drop_last)

    def room(self, width: int) -> int:  # noqa: ARG002  # as many rows at any width
        """Return how many rows a batch has."""
        return self.batch_size

    def tokens_per_batch(self, mean_length: float) -> float:
        """Return how many tokens a batch of records with `mean_length` tokens each has."""
        return self.batch_size * mean_length

    def landmark_of(self, window: int) -> Landmark:
        """Return where `window` begins."""
        rest = self._rest_steps if window == self.num_windows else 0
        return Landmark(window, window * self._full_units // self.num_windows * self.unit + rest * self.group)

    def plan_together(self, first: int, last: int) -> tuple[Window[PlannedBatch], IntArray]:
        """Return the batches of windows `first` to `last`, and how many each has: int64[M]."""
        large_steps = self.at_once == 1 and self.num_windows == self._full_units and self.lanes == 1
        if self.longest_first or not large_steps or (last == self.num_windows and self._rest_steps):
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
        before = [window * self._full_units // self.num_windows for window in range(first, last + 1)]
        edges = [units * self.unit * self.batch_size for units in before]
        units = np.diff(before)
        numbers = self.shuffled(first, units)
        if self.lanes > 1:  # then there is one window
            numbers = self._places_in_lanes(numbers, int(units[0]))
            edges = [edges[0] + (edges[1] - edges[0]) // self.lanes * lane for lane in range(self.lanes + 1)]
        ids, lengths = self.longest_of(edges)
        starts = numbers * self.batch_size
        stops, counts = starts + self.batch_size, units * self.unit
        if last == self.num_windows and self._rest_steps:
            rest, rest_lengths = self.longest_of([edges[-1], self.num_records])
            dealt = len(ids) + self._dealt(len(rest))
            ids, lengths = np.concatenate([ids, rest]), np.concatenate([lengths, rest_lengths])
            starts, stops = np.concatenate([starts, dealt[:-1]]), np.concatenate([stops, dealt[1:]])
            counts[-1] += self._rest_steps * self.group
        rows = np.full(len(starts), self.batch_size) if self.static else np.maximum(stops - starts, 1)
        longest = lengths[np.minimum(starts, len(lengths) - 1)] if len(lengths) else starts
        return BucketWindow(ids, starts, stops, rows, self.widths_for(longest)), counts

    def _places_in_lanes(self, numbers: IntArray, units: int) -> IntArray:
        """Where batches, numbered unit by unit and lane by lane in each, lie in a window of lane after lane."""
        each = self.unit // self.lanes
        unit, (lane, nth) = numbers // self.unit, np.divmod(numbers % self.unit, each)
        return (lane * units + unit) * each + nth

    def _dealt(self, records: int) -> IntArray:
        """Where the batches of the last steps begin, and end: full ones, and then a step that is dealt evenly."""
        full = records // (self.group * self.batch_size)
        begin = full * self.group * self.batch_size
        edges = np.arange(full * self.group + 1) * self.batch_size
        if full == self._rest_steps:
            return edges
        return np.append(edges[:-1], begin + np.arange(self.group + 1) * (records - begin) // self.group)


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
