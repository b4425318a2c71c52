"""One epoch's canonical list of global batches, planned window by window.

The records of a window, longest first, are cut into *steps*: neighbours in length that fill `group` batches,
one for each rank. Steps are then shuffled, and the batches inside a step dealt to the ranks at random. A
batch is a slice of the window's sorted records, so planning costs one permutation, one sort and a few
integers a batch. Global batch `g` is batch `g % group` of step `g // group`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastcollate.plan.order import Landmark, PlannedBatch, WindowedPlan, longest_first
from fastcollate.ragged import IntArray

__all__ = ["EpochPlan", "Window"]


@dataclass(frozen=True, slots=True)
class Window(Sequence[PlannedBatch]):
    """The batches of one window: batch `i` is `record_ids[starts[i]:stops[i]]`, filled up to `rows[i]`.

    All are int64; `widths[i]` is 0 where the longest row decides.
    """

    record_ids: IntArray
    starts: IntArray
    stops: IntArray
    rows: IntArray
    widths: IntArray

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        """Batch `index` of the window, filled up with filler rows."""
        ids = self.record_ids[self.starts[index] : self.stops[index]]
        batch = PlannedBatch(ids, int(self.widths[index]) or None)
        rows = int(self.rows[index])
        return batch if rows == len(ids) else batch.filled(rows)

    def with_step(self, at: int, other: Window, first: int, group: int) -> Window:
        """The `group` batches from `at` on taken from `other` from `first` on (swapped if it is this)."""
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
        return Window(ids, *columns)


@dataclass(frozen=True, kw_only=True)
class EpochPlan(WindowedPlan):
    """A plan of length buckets; see `WindowedPlan` for the other fields.

    Attributes:
        max_tokens: padded tokens of a batch at most, or None.
        widths: the static widths, a rising list, or None.
        longest_first: whether the epoch's largest step changes places with its first.
    """

    max_tokens: int | None
    widths: list[int] | None
    longest_first: bool = False

    @cached_property
    def num_windows(self) -> int:
        """Windows of near-equal size, none larger than `window` (or than one step, if that is larger)."""
        windows = -(-self.num_records // self.window)
        return max(1, windows if self.batch_size is None else min(windows, self._full_steps))

    @property
    def static(self) -> bool:
        """Whether every batch must have one of the planned shapes."""
        return self.widths is not None

    @cached_property
    def _full_steps(self) -> int:
        """Steps of `group * batch_size` records; `num_records` has no say with `max_tokens`."""
        assert self.batch_size is not None
        return self.num_records // (self.group * self.batch_size)

    @property
    def counted(self) -> bool:
        """With `batch_size` where a window begins is known in closed form."""
        return self.batch_size is None

    def begin_of(self, number: int) -> Landmark:
        """Where window `number` begins."""
        if self.counted:
            return super().begin_of(number)
        steps = number * self._full_steps // self.num_windows + (number == self.num_windows and self._has_rest)
        return Landmark(number, steps * self.group)

    def locate(self, batch: int) -> Landmark:
        """The last window that begins before global batch `batch` (the epoch's end is one, without batches)."""
        if self.counted:
            return super().locate(batch)
        numbers = range(self.num_windows + 1)
        return self.begin_of(
            max(0, bisect_left(numbers, batch, key=lambda number: self.begin_of(number).batch) - 1)
        )

    def _next_after(self, here: Landmark) -> Landmark:
        return Landmark(here.window + 1, here.batch + len(self._plan_window(here.window)))

    @cached_property
    def _largest(self) -> tuple[int, int]:
        """The window that holds the step with the largest batch (rows times width), and its first batch there."""
        found = (-1, 0, 0)
        for number in range(self.num_windows):
            window = self._plan_window(number)
            if len(window):
                cells = window.rows * self.widths_of(window)
                best = int(cells.argmax())
                found = max(found, (int(cells[best]), -number, -(best // self.group * self.group)))
        return -found[1], -found[2]

    @property
    def _has_rest(self) -> bool:
        assert self.batch_size is not None
        return not self.drop_last and self.num_records % (self.group * self.batch_size) > 0

    def plan_window(self, number: int) -> Window:
        """The batches of window `number`, in global order."""
        window = self._plan_window(number)
        if not self.longest_first or not len(window):
            return window
        other, first = self._largest
        if number == 0:
            return window.with_step(0, self._plan_window(other) if other else window, first, self.group)
        if number == other:
            return window.with_step(first, self._plan_window(0), 0, self.group)
        return window

    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, width) that batches can have: one for each static width, in any epoch; else this epoch's.

        Without static widths it costs a pass.
        """
        if self.widths is not None:
            return sorted((self.batch_size or self.max_tokens // width, width) for width in self.widths)  # type: ignore[operator]
        found: set[tuple[int, int]] = set()
        for number in range(self.num_windows):
            window = self._plan_window(number)
            found.update(zip(window.rows.tolist(), self.widths_of(window).tolist(), strict=True))
        return sorted(found)

    def widths_of(self, window: Window) -> IntArray:
        """int64[len(window)]: the columns of each batch, fixed or those of its longest row."""
        if self.widths is not None:
            return window.widths
        firsts = window.record_ids[np.minimum(window.starts, len(window.record_ids) - 1)]
        return np.where(window.stops > window.starts, self.lengths_at(firsts), 1)

    def _plan_window(self, number: int) -> Window:
        last = number == self.num_windows - 1
        if self.batch_size is not None:
            step = self.group * self.batch_size
            begin, end = (int(w * self._full_steps // self.num_windows) * step for w in (number, number + 1))
            main = self._sorted(begin, end)
            rest = self._sorted(end, self.num_records) if last and self._has_rest else None
            return self._cut_by_rows(number, main, rest)
        begin, end = (w * self.num_records // self.num_windows for w in (number, number + 1))
        return self._cut_by_tokens(number, *self._sorted(begin, end), drop_partial=last and self.drop_last)

    def _sorted(self, begin: int, end: int) -> tuple[IntArray, IntArray]:
        """The records at positions [begin, end) of the epoch's order, longest first: ids and lengths."""
        if begin == end:
            return np.arange(0), np.arange(0)
        ids = self.order(begin, end)
        lengths = self.lengths_at(ids)
        order = longest_first(lengths)
        return ids[order], lengths[order]

    def _cut_by_rows(
        self, number: int, main: tuple[IntArray, IntArray], rest: tuple[IntArray, IntArray] | None
    ) -> Window:
        """Steps of `group * batch_size` records, and at the epoch's end one that is not full."""
        assert self.batch_size is not None
        ids, lengths = main
        edges = np.arange(0, len(ids) + 1, self.batch_size)
        starts, stops = edges[:-1], edges[1:]
        order = self.shuffled(number, len(starts) // self.group)
        starts, stops = starts[order], stops[order]
        if rest is not None:
            dealt = len(ids) + np.arange(self.group + 1) * len(rest[0]) // self.group
            ids, lengths = np.concatenate([ids, rest[0]]), np.concatenate([lengths, rest[1]])
            starts, stops = np.concatenate([starts, dealt[:-1]]), np.concatenate([stops, dealt[1:]])
        rows = np.full(len(starts), self.batch_size) if self.widths else np.maximum(stops - starts, 1)
        longest = lengths[np.minimum(starts, len(lengths) - 1)] if len(lengths) else starts
        return Window(ids, starts, stops, rows, self._widths_for(longest))

    def _cut_by_tokens(self, number: int, ids: IntArray, lengths: IntArray, *, drop_partial: bool) -> Window:
        """Steps of `group` batches, each with as many rows as its width leaves room for.

        The last step of a window may have fewer rows: they are dealt evenly, and stay last.
        """
        assert self.max_tokens is not None
        firsts, capacities = self._greedy_steps(lengths)
        sizes = np.minimum(np.append(firsts[1:], len(ids)) - firsts, capacities * self.group)
        partial = len(sizes) > 0 and bool(sizes[-1] < capacities[-1] * self.group)
        edges = firsts[:, None] + np.arange(self.group + 1) * sizes[:, None] // self.group
        order = self.shuffled(number, len(sizes) - partial)
        if partial and not drop_partial:
            order = np.concatenate([order, np.arange(len(order), len(order) + self.group)])
        starts, stops = edges[:, :-1].ravel()[order], edges[:, 1:].ravel()[order]
        width = self._widths_for(np.repeat(lengths[firsts], self.group)[order])
        rows = np.repeat(capacities, self.group)[order] if self.widths else np.maximum(stops - starts, 1)
        return Window(ids, starts, stops, rows, width)

    def _greedy_steps(self, lengths: IntArray) -> tuple[IntArray, IntArray]:
        """The first record of each step and the rows its batches have room for, from the longest on."""
        assert self.max_tokens is not None
        firsts: list[int] = []
        capacities: list[int] = []
        widths = lengths if self.widths is None else self._widths_for(lengths)
        at = 0
        while at < len(lengths):
            capacity = self.max_tokens // int(widths[at])
            firsts.append(at)
            capacities.append(capacity)
            at += capacity * self.group
        return np.array(firsts, np.int64), np.array(capacities, np.int64)

    def _widths_for(self, longest: IntArray) -> IntArray:
        """The narrowest static width for each length, or 0 where there are none."""
        if self.widths is None:
            return np.zeros(len(longest), np.int64)
        return np.asarray(self.widths)[np.searchsorted(self.widths, longest)]
