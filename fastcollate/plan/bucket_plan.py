"""Plans of length buckets: the batches of a step are neighbours in length, so that little is padding.

The records of a window, longest first, are cut into *steps*: neighbours in length that fill `group` batches,
one for each rank. Steps are then shuffled, and the batches inside a step dealt to the ranks at random. A
batch is a slice of the window's sorted records, so planning costs one permutation, one sort and a few
integers a batch. Global batch `g` is batch `g % group` of step `g // group`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from fastcollate.plan.order import TOGETHER, Landmark, PlannedBatch, Window, WindowedPlan
from fastcollate.plan.sorting import longest_between, longest_first
from fastcollate.ragged import IntArray

__all__ = ["BucketWindow", "Buckets", "RowBuckets"]

_WIDTHS_SPELLED_OUT = 64  # in a fingerprint: a state stays small


@dataclass(frozen=True, slots=True)
class BucketWindow(Window[PlannedBatch]):
    """A `BucketWindow` holds batches of neighbours in length, filled up to the rows that were planned.

    Attributes:
        record_ids: int64[N], the window's records, longest first.
        starts, stops: int64[B] each; batch `i` has the records `record_ids[starts[i]:stops[i]]`.
        rows: int64[B], the rows of each batch, filler rows among them.
        widths: int64[B], the columns of each batch, or 0 where its longest row decides.
    """

    record_ids: IntArray
    starts: IntArray
    stops: IntArray
    rows: IntArray
    widths: IntArray

    def __getitem__(self, number: int) -> PlannedBatch:
        """Return batch `number` of the window, filled up with filler rows."""
        ids = self.record_ids[self.starts[number] : self.stops[number]]
        batch = PlannedBatch(ids, int(self.widths[number]) or None)
        rows = int(self.rows[number])
        return batch if rows == len(ids) else batch.filled(rows)

    def with_step(self, at: int, other: BucketWindow, first: int, group: int) -> BucketWindow:
        """Return the window with the `group` batches from `at` on taken from `other` from `first` on.

        Where `other` is this window, the two steps change places.
        """
        ids = self.record_ids if other is self else np.concatenate([self.record_ids, other.record_ids])
        moved = 0 if other is self else len(self.record_ids)
        columns = []
        for name in ("starts", "stops", "rows", "widths"):
            column, source = getattr(self, name).copy(), getattr(other, name)
            taken = source[first : first + group] + (moved if name in ("starts", "stops") else 0)
            if other is self:
                column[first : first + group] = source[at : at + group]
            column[at : at + group] = taken
            columns.append(column)
        return BucketWindow(ids, *columns)


@dataclass(frozen=True, kw_only=True)
class Buckets(WindowedPlan[PlannedBatch]):
    """`Buckets` are what both plans of length buckets share; see `WindowedPlan` for the other fields.

    Attributes:
        widths: The static widths, a rising list, or None where the longest row of a batch decides.
        max_length: How many tokens of a record are used at most, or None for all.
        longest_first: Whether the epoch's largest step changes places with its first.
    """

    widths: list[int] | None = None
    max_length: int | None = None
    longest_first: bool = False

    @abstractmethod
    def room(self, width: int) -> int:
        """Return how many rows a batch of this width has room for."""

    @abstractmethod
    def cut(self, first: int, last: int) -> tuple[BucketWindow, IntArray]:
        """Return the batches of windows `first` to `last`, and how many each has: int64[M].

        The largest step has not changed places with the first yet.
        """

    def fingerprint(self) -> dict[str, Any]:
        """Return the kind of plan and its arguments, as JSON; many widths are hashed."""
        found = super().fingerprint()
        if self.widths is not None and len(self.widths) > _WIDTHS_SPELLED_OUT:
            found["widths"] = hashlib.sha256(repr(self.widths).encode()).hexdigest()
        return found

    @property
    def static(self) -> bool:
        """Whether every batch must have one of the planned shapes."""
        return self.widths is not None

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], the tokens of the records `indices: int64[M]`, `max_length` at most."""
        lengths = self.records.lengths_at(indices)
        return lengths if self.max_length is None else np.minimum(lengths, self.max_length)

    @property
    def at_once(self) -> int:
        """How many windows are planned together: many small ones cost as much as one of as many records."""
        return max(1, TOGETHER * self.num_windows // self.num_records)

    def plan_window(self, number: int) -> BucketWindow:
        """Return the batches of window `number`, in global order."""
        return self._planned(number, number + 1)[0]

    def plan_together(self, first: int, last: int) -> tuple[Window[PlannedBatch], IntArray]:
        """Return the batches of windows `first` to `last`, and how many each has: int64[M]."""
        return self._planned(first, last)

    def _planned(self, first: int, last: int) -> tuple[BucketWindow, IntArray]:
        planned, counts = self.cut(first, last)
        if not self.longest_first or not len(planned):
            return planned, counts
        window, batch = self._largest
        if first <= window < last:
            at = int(counts[: window - first].sum()) + batch
            start = planned if first == 0 else self.cut(0, 1)[0]
            planned = planned.with_step(at, start, 0, self.group)
        elif first == 0:
            planned = planned.with_step(0, self.cut(window, window + 1)[0], batch, self.group)
        return planned, counts

    def _all_cuts(self) -> Iterator[tuple[int, BucketWindow, IntArray]]:
        """Cut all windows, many small ones together: the number of the first, their batches, how many each has."""
        for first in range(0, self.num_windows, self.at_once):
            yield first, *self.cut(first, min(first + self.at_once, self.num_windows))

    @cached_property
    def _largest(self) -> tuple[int, int]:
        """The window that holds the step with the largest batch (rows times width), and its first batch there."""
        most, window, batch = -1, 0, 0
        for first, planned, counts in self._all_cuts():
            cells = planned.rows * self.widths_of(planned)
            if cells.max(initial=-1) > most:
                most, best = int(cells.max()), int(cells.argmax())
                within = int(np.searchsorted(np.cumsum(counts), best, side="right"))
                window, batch = first + within, best - int(counts[:within].sum())
        return window, batch // self.group * self.group

    def shapes(self) -> list[tuple[int, int]]:
        """Return all (rows, width) that batches of this epoch can have, sorted; without static widths in a pass.

        With static widths there is one for each of them, in any epoch.
        """
        if self.widths is not None:
            return sorted((self.room(width), width) for width in self.widths)
        found: set[tuple[int, int]] = set()
        for _, window, _ in self._all_cuts():
            found.update(zip(window.rows.tolist(), self.widths_of(window).tolist(), strict=True))
        return sorted(found)

    def widths_of(self, window: BucketWindow) -> IntArray:
        """Return int64[B]: the columns of each batch, fixed or those of its longest row."""
        if self.widths is not None:
            return window.widths
        firsts = window.record_ids[np.minimum(window.starts, len(window.record_ids) - 1)]
        return np.where(window.real_rows > 0, self.lengths_at(firsts), 1)

    def longest_of(self, edges: list[int]) -> tuple[IntArray, IntArray]:
        """Return the records of several windows, each with its longest first: ids and lengths, int64[N] both.

        Window `i` has the positions `edges[i]` to `edges[i + 1]` of the epoch's order.
        """
        ids = self.order(edges[0], edges[-1])
        lengths = self.lengths_at(ids)
        order = longest_first(lengths, np.diff(edges))
        return ids[order], lengths[order]

    def widths_for(self, longest: IntArray) -> IntArray:
        """Return int64[M]: the narrowest static width for each length `longest: int64[M]`, or 0 without widths."""
        if self.widths is None:
            return np.zeros(len(longest), np.int64)
        return np.asarray(self.widths)[np.searchsorted(self.widths, longest)]


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

    @property
    def record_ids(self) -> IntArray:
        """int64[N], the window's records, longest first."""
        return self._sorted.record_ids

    @cached_property
    def _sorted(self) -> BucketWindow:
        return self._plan.plan_window(self._number)
