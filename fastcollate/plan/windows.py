"""What every plan of an epoch shares: an order of records, cut into windows, and steps that are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from fastcollate.plan.permutation import derive_key, hash_integers, permute_blocks
from fastcollate.ragged import IntArray

__all__ = ["LengthsAt", "PlannedBatch", "WindowedPlan"]

_RECORDS, _STEPS, _RANKS = 1, 2, 3  # what a key is for

LengthsAt = Callable[[IntArray], IntArray]


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

    @property
    def num_windows(self) -> int:
        """Windows of near-equal size, none larger than `window`."""
        return max(1, -(-self.num_records // self.window))

    @property
    def static(self) -> bool:
        """Whether every batch must have one of the planned shapes."""
        return False

    @property
    @abstractmethod
    def steps_before(self) -> IntArray:
        """int64[num_windows + 1]: steps in all windows before each."""

    @abstractmethod
    def plan_window(self, number: int) -> Sequence[PlannedBatch]:
        """The batches of window `number`, in global order."""

    def windows(self, first: int = 0) -> Iterator[Sequence[PlannedBatch]]:
        """Plan window after window, from number `first` on."""
        return (self.plan_window(number) for number in range(first, self.num_windows))

    @cached_property
    def num_batches(self) -> int:
        """Global batches of the epoch, a multiple of `group`."""
        return int(self.steps_before[-1]) * self.group

    def tail(self, start: int, world_size: int) -> int:
        """Batches of the last step of a run from `start` if it is not full; 0, without counting, if it must be."""
        if self.group % world_size == 0 and start % world_size == 0:
            return 0
        return max(0, self.num_batches - start) % world_size

    def locate(self, batch: int) -> tuple[int, int]:
        """The window that holds global batch `batch`, and the number of its first batch."""
        if batch == 0:
            return 0, 0  # without counting: the first batch must not wait for a pass over the lengths
        number = int(np.searchsorted(self.steps_before, batch // self.group, side="right")) - 1
        return number, int(self.steps_before[number]) * self.group

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
