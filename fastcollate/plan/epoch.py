"""One epoch's canonical list of global batches, planned window by window.

The records of a window, longest first, are cut into *steps*: neighbours in length that fill `group` batches,
one for each rank. Steps are then shuffled, and the batches inside a step dealt to the ranks at random. A
batch is a slice of the window's sorted records, so planning costs one permutation, one sort and a few
integers a batch. Global batch `g` is batch `g % group` of step `g // group`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastcollate.plan.permutation import derive_key, hash_integers, permute_blocks
from fastcollate.ragged import IntArray

__all__ = ["EpochPlan", "PlannedBatch", "Window"]

_RECORDS, _STEPS, _RANKS = 1, 2, 3  # what a key is for

LengthsAt = Callable[[IntArray], IntArray]


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Which records: int64[B] (-1 for filler rows, always last), and the width to pad to, if it is fixed."""

    record_ids: IntArray
    width: int | None


@dataclass(frozen=True, slots=True)
class Window:
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

    def batch(self, index: int) -> PlannedBatch:
        """Batch `index` of the window, filled up with filler rows."""
        ids = self.record_ids[self.starts[index] : self.stops[index]]
        if missing := int(self.rows[index]) - len(ids):
            ids = np.concatenate([ids, np.full(missing, -1, np.int64)])
        return PlannedBatch(ids, int(self.widths[index]) or None)

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


@dataclass(frozen=True)
class EpochPlan:
    """The plan of one epoch: a pure function of its fields.

    Attributes:
        num_records: records of the store, numbered from 0.
        lengths_at: tokens of the records asked for, int64[M] -> int64[M], already cut to `max_length`.
        batch_size: rows of a batch, or None.
        max_tokens: padded tokens of a batch at most, or None.
        widths: the static widths, a rising list, or None.
        shuffle: whether records and steps are shuffled.
        seed, epoch: what the randomness is a function of.
        window: how many records are sorted together.
        drop_last: whether the last step is dropped when it is not full.
        group: batches of a step.
        shuffle_block: how many consecutive records stay together in the shuffle.
        longest_first: whether the epoch's largest step changes places with its first.
    """

    num_records: int
    lengths_at: LengthsAt
    batch_size: int | None
    max_tokens: int | None
    widths: list[int] | None
    shuffle: bool
    seed: int
    epoch: int
    window: int
    drop_last: bool
    group: int
    shuffle_block: int = 1
    longest_first: bool = False

    @cached_property
    def num_windows(self) -> int:
        """Windows of near-equal size, none larger than `window` (or than one step, if that is larger)."""
        windows = -(-self.num_records // self.window)
        return max(1, windows if self.batch_size is None else min(windows, self._full_steps))

    @cached_property
    def _full_steps(self) -> int:
        """Steps of `group * batch_size` records; `num_records` has no say with `max_tokens`."""
        assert self.batch_size is not None
        return self.num_records // (self.group * self.batch_size)

    @cached_property
    def _steps_before(self) -> IntArray:
        """int64[num_windows + 1]: steps in all windows before each; costs a pass when widths decide."""
        windows = np.arange(self.num_windows + 1)
        if self.batch_size is not None:
            before = windows * self._full_steps // self.num_windows
            before[-1] += self._has_rest
            return before
        counts = [len(self._plan_window(w)) // self.group for w in range(self.num_windows)]
        return np.concatenate([[0], np.cumsum(counts)])

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

    @property
    def num_batches(self) -> int:
        """Global batches of the epoch, a multiple of `group`."""
        return int(self._steps_before[-1]) * self.group

    def tail(self, start: int, world_size: int) -> int:
        """Batches of the last step of a run from `start` if it is not full; 0, without counting, if it must be."""
        if self.group % world_size == 0 and start % world_size == 0:
            return 0
        return (self.num_batches - start) % world_size

    def locate(self, batch: int) -> tuple[int, int]:
        """The window that holds global batch `batch`, and the number of its first batch."""
        if batch == 0:
            return 0, 0  # without counting: the first batch must not wait for a pass over the lengths
        number = int(np.searchsorted(self._steps_before, batch // self.group, side="right")) - 1
        return number, int(self._steps_before[number]) * self.group

    def windows(self, first: int = 0) -> Iterator[Window]:
        """Plan window after window, from number `first` on."""
        return (self.plan_window(number) for number in range(first, self.num_windows))

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

    def order(self, begin: int, end: int) -> IntArray:
        """int64[end - begin]: the records at positions [begin, end) of the epoch, before windows are sorted."""
        positions = np.arange(begin, end)
        if not self.shuffle:
            return positions
        key = derive_key(self.seed, self.epoch, _RECORDS)
        return permute_blocks(positions, self.num_records, key, self.shuffle_block)

    def _sorted(self, begin: int, end: int) -> tuple[IntArray, IntArray]:
        """The records at positions [begin, end) of the epoch's order, longest first: ids and lengths."""
        if begin == end:
            return np.arange(0), np.arange(0)
        ids = self.order(begin, end)
        lengths = self.lengths_at(ids)
        longest = int(lengths.max())
        shortfall = longest - lengths
        narrow = np.uint16 if longest < 2**16 else np.int64  # NumPy sorts 16-bit integers by radix
        order = np.argsort(shortfall.astype(narrow), kind="stable")
        return ids[order], lengths[order]

    def _cut_by_rows(
        self, number: int, main: tuple[IntArray, IntArray], rest: tuple[IntArray, IntArray] | None
    ) -> Window:
        """Steps of `group * batch_size` records, and at the epoch's end one that is not full."""
        assert self.batch_size is not None
        ids, lengths = main
        edges = np.arange(0, len(ids) + 1, self.batch_size)
        starts, stops = edges[:-1], edges[1:]
        order = self._shuffled(number, len(starts) // self.group)
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
        order = self._shuffled(number, len(sizes) - partial)
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

    def _shuffled(self, number: int, steps: int) -> IntArray:
        """int64[steps * group]: batch numbers with the steps in random order, and inside each its batches."""
        batches = np.arange(steps * self.group)
        if not self.shuffle:
            return batches
        by_hash = np.argsort(hash_integers(np.arange(steps), self._key(_STEPS, number)), kind="stable")
        words = hash_integers(batches, self._key(_RANKS, number)).reshape(steps, self.group)
        inside = np.argsort(words, axis=1, kind="stable") + np.arange(steps)[:, None] * self.group
        return inside[by_hash].ravel()

    def _key(self, purpose: int, number: int) -> int:
        return derive_key(self.seed, self.epoch, purpose, number)
