"""What every plan of an epoch shares: an order of records, cut into windows, and steps that are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from fastcollate.plan.permutation import derive_key, hash_integers, permute_blocks
from fastcollate.ragged import IntArray

__all__ = ["Landmark", "LengthsAt", "PlannedBatch", "WindowedPlan"]

_RECORDS, _STEPS, _RANKS = 1, 2, 3  # what a key is for

LengthsAt = Callable[[IntArray], IntArray]


class Landmark(NamedTuple):
    """Where a window begins: its number, its first global batch, and its first token where documents are joined.

    Where lengths decide how many batches a window has, one landmark saves counting all windows before it.
    """

    window: int = 0
    batch: int = 0
    token: int = 0


_START = Landmark()


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Which records: int64[B] (-1 for filler rows, always last), and the width to pad to, if it is fixed."""

    record_ids: IntArray
    width: int | None

    @property
    def rows(self) -> int:
        """Rows of the tensors, filler rows among them."""
        return len(self.record_ids)

    @property
    def real_rows(self) -> int:
        """Rows that hold records."""
        return int(np.count_nonzero(self.record_ids >= 0))

    def halves(self) -> tuple[Self, Self]:
        """The real rows in two batches."""
        half = (self.real_rows + 1) // 2
        real = self.record_ids[: self.real_rows]
        return type(self)(real[:half], self.width), type(self)(real[half:], self.width)

    def filled(self, rows: int) -> Self:
        """The same with filler rows up to `rows`."""
        missing = np.full(max(0, rows - self.rows), -1, np.int64)
        return type(self)(np.concatenate([self.record_ids, missing]), self.width)


@dataclass(frozen=True, kw_only=True)
class WindowedPlan(ABC):
    """The plan of one epoch: a pure function of its fields.

    Attributes:
        num_records: records of the store, numbered from 0.
        lengths_at: tokens of the records asked for, int64[M] -> int64[M], already cut to `max_length`.
        batch_size: rows of a batch, or None where something else limits it.
        shuffle: whether records and steps are shuffled.
        seed, epoch: what the randomness is a function of.
        window: how many records are planned together.
        drop_last: whether the last step is dropped when it is not full.
        group: batches of a step.
        shuffle_block: how many consecutive records stay together in the shuffle.
        landmark: a window whose beginning is known beforehand; the first one's always is.
    """

    num_records: int
    lengths_at: LengthsAt
    batch_size: int | None
    shuffle: bool
    seed: int
    epoch: int
    window: int
    drop_last: bool
    group: int
    shuffle_block: int = 1
    landmark: Landmark = _START

    @property
    def num_windows(self) -> int:
        """Windows of near-equal size, none larger than `window`."""
        return max(1, -(-self.num_records // self.window))

    @property
    def static(self) -> bool:
        """Whether every batch must have one of the planned shapes."""
        return False

    @property
    def counted(self) -> bool:
        """Whether lengths decide how many batches a window has: then where it begins must be counted."""
        return True

    @abstractmethod
    def plan_window(self, number: int) -> Sequence[PlannedBatch]:
        """The batches of window `number`, in global order."""

    @abstractmethod
    def _next_after(self, here: Landmark) -> Landmark:
        """Where the window after `here` begins; costs what planning `here` costs."""

    @cached_property
    def _known(self) -> dict[int, Landmark]:
        """Landmarks by window. Two threads may add to it: whoever adds one adds the same."""
        return {0: _START, self.landmark.window: self.landmark}

    def knows(self, landmark: Landmark) -> bool:
        """Whether nothing need be counted to find `landmark`."""
        return landmark.window in self._known

    def windows(self, here: Landmark | None = None) -> Iterator[tuple[int, Sequence[PlannedBatch]]]:
        """Plan window after window, from a landmark on: the number of its first batch, and its batches."""
        here = here or _START
        while here.window < self.num_windows:
            window, first = self.plan_window(here.window), here.batch
            following = Landmark(here.window + 1, first + len(window))
            here = self._known.setdefault(here.window + 1, following)
            yield first, window

    @property
    def num_batches(self) -> int:
        """Global batches of the epoch, a multiple of `group`."""
        return self.begin_of(self.num_windows).batch

    def begin_of(self, number: int) -> Landmark:
        """Where window `number` begins, counted from the nearest landmark before it."""
        nearest = next(n for n in range(number, -1, -1) if n in self._known)
        here = self._known[nearest]
        while here.window < number:
            here = self._following(here)
        return here

    def locate(self, batch: int) -> Landmark:
        """The last window that begins before global batch `batch` (the epoch's end is one, without batches)."""
        numbers = sorted(self._known)
        nearest = bisect_left(numbers, batch, key=lambda number: self._known[number].batch)
        here = self._known[numbers[max(0, nearest - 1)]]
        while batch and here.window < self.num_windows and (after := self._following(here)).batch < batch:
            here = after
        return here

    def _following(self, here: Landmark) -> Landmark:
        if here.window + 1 not in self._known:
            self._known[here.window + 1] = self._next_after(here)
        return self._known[here.window + 1]

    def place(self, batch: int) -> tuple[int, Landmark]:
        """Global batch `batch`, or the epoch's end if that comes first, and the last window that begins before."""
        here = self.locate(batch)
        return (here.batch, self.locate(here.batch)) if here.window == self.num_windows else (batch, here)

    def has_batch(self, batch: int) -> bool:
        """Whether the epoch has a global batch of this number."""
        return self.locate(batch + 1).window < self.num_windows

    def order(self, begin: int, end: int) -> IntArray:
        """int64[end - begin]: the records at positions [begin, end) of the epoch, before windows are sorted."""
        positions = np.arange(begin, end)
        if not self.shuffle:
            return positions
        key = derive_key(self.seed, self.epoch, _RECORDS)
        return permute_blocks(positions, self.num_records, key, self.shuffle_block)

    def shuffled(self, number: int, steps: int) -> IntArray:
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


def longest_first(lengths: IntArray) -> IntArray:
    """int64[N]: the stable order of `lengths: int64[N]` from the longest on."""
    longest = int(lengths.max(initial=0))
    narrow = np.uint16 if longest < 2**16 else np.int64  # NumPy sorts 16-bit integers by radix
    return np.argsort((longest - lengths).astype(narrow), kind="stable")
