"""What all plans of an epoch share: an order of records, windows planned one by one, landmarks between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from fastcollate.plan.permutation import shuffle_records, shuffle_steps
from fastcollate.plan.shares import Share
from fastcollate.ragged import IntArray

__all__ = ["Landmark", "Landmarks", "Lengths", "PlannedBatch", "Window", "WindowedPlan", "longest_first"]

AnyBatch = TypeVar("AnyBatch", bound="PlannedBatch")


class Lengths(Protocol):
    """`Lengths` are records that know how long they are: a store, one epoch of a mixture, an array in memory."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], the tokens of the records `indices: int64[M]`."""


class Landmark(NamedTuple):
    """A `Landmark` says where a window begins: its number, its first global batch, its first token.

    Tokens are counted only where documents are joined. Where lengths decide how many batches a window has, one
    landmark saves counting all windows before it.
    """

    window: int = 0
    batch: int = 0
    token: int = 0


_START = Landmark()


class Landmarks:
    """`Landmarks` count where the windows of one epoch begin, each window once.

    Two threads may count at the same time: whoever adds a landmark adds the same.

    Args:
        num_windows: How many windows the epoch has; the beginning of window `num_windows` is the epoch's end.
        known: A landmark to count from; the beginning of window 0 always is one.
        next_after: Where the window after a landmark's begins; it costs what planning a window costs.
    """

    def __init__(self, num_windows: int, *, known: Landmark, next_after: Callable[[Landmark], Landmark]) -> None:
        self._num_windows = num_windows
        self._known = {0: _START, known.window: known}
        self._next_after = next_after

    def __contains__(self, window: int) -> bool:
        """Whether nothing need be counted to tell where `window` begins."""
        return window in self._known

    def add(self, landmark: Landmark) -> Landmark:
        """Return the landmark of that window: this one, unless another was known."""
        return self._known.setdefault(landmark.window, landmark)

    def of(self, window: int) -> Landmark:
        """Return where `window` begins, counted from the nearest landmark before it."""
        here = self._known[next(number for number in range(window, -1, -1) if number in self._known)]
        while here.window < window:
            here = self._after(here)
        return here

    def before(self, batch: int) -> Landmark:
        """Return the last landmark before global batch `batch`, or window 0's, counted from the nearest one."""
        numbers = sorted(self._known)
        nearest = bisect_left(numbers, batch, key=lambda window: self._known[window].batch)
        here = self._known[numbers[max(0, nearest - 1)]]
        while batch and here.window < self._num_windows and (after := self._after(here)).batch < batch:
            here = after
        return here

    def _after(self, here: Landmark) -> Landmark:
        if here.window + 1 not in self._known:
            self._known[here.window + 1] = self._next_after(here)
        return self._known[here.window + 1]


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A `PlannedBatch` names the records of one batch.

    Attributes:
        record_ids: int64[B], -1 for filler rows, which come last.
        width: The columns to pad to, or None where the longest row decides.
    """

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
        """Return the real rows in two batches, the odd one in the first."""
        half = (self.real_rows + 1) // 2
        real = self.record_ids[: self.real_rows]
        return type(self)(real[:half], self.width), type(self)(real[half:], self.width)

    def filled(self, rows: int) -> Self:
        """Return the same batch with filler rows up to `rows`."""
        missing = np.full(max(0, rows - self.rows), -1, np.int64)
        return type(self)(np.concatenate([self.record_ids, missing]), self.width)

    def share(self) -> Share:
        """Return the share that has this batch alone."""
        widths = None if self.width is None else np.array([self.width])
        return Share(self.record_ids, np.array([0, len(self.record_ids)]), widths)


class Window(ABC, Generic[AnyBatch]):
    """A `Window` holds the batches of one window of a plan, and makes each when it is asked for.

    Attributes:
        starts, stops: int64[B] each; batch `i` has the real rows `starts[i]` to `stops[i]` of the window.
    """

    __slots__ = ()
    starts: IntArray
    stops: IntArray

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[AnyBatch]:
        return map(self.__getitem__, range(len(self)))

    @abstractmethod
    def __getitem__(self, number: int) -> AnyBatch:
        """Return batch `number` of the window, with the filler rows it needs."""

    @abstractmethod
    def share(self, numbers: IntArray) -> Share:
        """Return the batches `numbers: int64[C]` of the window, with the filler rows they need, as one share."""

    @property
    def real_rows(self) -> IntArray:
        """int64[B]: the rows of each batch that hold records."""
        return self.stops - self.starts


@dataclass(frozen=True, kw_only=True)
class WindowedPlan(ABC, Generic[AnyBatch]):
    """A `WindowedPlan` lists the global batches of one epoch, window by window: a pure function of its fields.

    A plan is its own list of arguments; only the last four fields change from pass to pass.

    Attributes:
        num_records: How many records there are; they are numbered from 0.
        shuffle: Whether records and steps are shuffled.
        seed: What the randomness is a function of, together with the epoch.
        window: How many records are planned together.
        drop_last: Whether the epoch's last step is dropped when it is not full.
        shuffle_block: How many consecutive records stay together in the shuffle.
        epoch: Which pass over the records this is, from 0.
        group: How many batches a step has, one for each rank.
        records: The records of this epoch, which are asked for their lengths.
        landmark: A window whose beginning is known beforehand; the first one's always is.
    """

    kind: ClassVar[str]  # the word for this kind of plan in a fingerprint
    must_count: ClassVar[bool] = True  # whether batches must be counted to tell where a window begins

    num_records: int
    shuffle: bool
    seed: int
    window: int
    drop_last: bool
    shuffle_block: int = 1
    epoch: int
    group: int
    records: Lengths
    landmark: Landmark = _START

    def at(self, *, epoch: int, group: int, records: Lengths, landmark: Landmark) -> Self:
        """Return the same plan of another pass."""
        return replace(self, epoch=epoch, group=group, records=records, landmark=landmark)

    def fingerprint(self) -> dict[str, Any]:
        """Return the kind of plan and its arguments, its own first, as JSON: what a state must agree with."""
        beside = {"seed", "epoch", "group", "records", "landmark"}  # which a state holds of its own, or not at all
        names = [field.name for field in reversed(fields(self)) if field.name not in beside]
        return {"plan": self.kind, **{name: getattr(self, name) for name in names}}

    @property
    def static(self) -> bool:
        """Whether every batch must have one of the planned shapes."""
        return False

    @abstractmethod
    def plan_window(self, number: int) -> Window[AnyBatch]:
        """Return the batches of window `number`, in global order."""

    def next_after(self, here: Landmark) -> Landmark:
        """Return where the window after `here` begins; it costs what planning `here` costs."""
        return Landmark(here.window + 1, here.batch + len(self.plan_window(here.window)))

    @abstractmethod
    def shapes(self) -> list[tuple[int, int]]:
        """Return all (rows, width) that the batches of this epoch have, sorted."""

    @abstractmethod
    def tokens_per_batch(self, mean_length: float) -> float:
        """Return about how many tokens a batch has, of records with `mean_length` tokens each."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], as many tokens of the records `indices: int64[M]` as the plan uses."""
        return self.records.lengths_at(indices)

    @property
    def num_windows(self) -> int:
        """Windows of near-equal size, none larger than `window`."""
        return max(1, -(-self.num_records // self.window))

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the positions in the epoch's order from which, and to which, window `number` goes."""
        return number * self.num_records // self.num_windows, (number + 1) * self.num_records // self.num_windows

    @cached_property
    def _landmarks(self) -> Landmarks:
        return Landmarks(self.num_windows, known=self.landmark, next_after=self.next_after)

    def landmark_of(self, window: int) -> Landmark:
        """Return where `window` begins."""
        return self._landmarks.of(window)

    def landmark_before(self, batch: int) -> Landmark:
        """Return the last landmark before global batch `batch`; the epoch's end is one."""
        return self._landmarks.before(batch)

    def knows(self, landmark: Landmark) -> bool:
        """Return whether nothing need be counted to find `landmark`."""
        return landmark.window in self._landmarks

    def windows(self, start: int = 0) -> Iterator[tuple[int, Window[AnyBatch]]]:
        """Plan window after window: yield the number of its first global batch, and its batches.

        The first one is the last that begins before global batch `start`.
        """
        here = self.landmark_before(start)
        while here.window < self.num_windows:
            window, first = self.plan_window(here.window), here.batch
            here = self._landmarks.add(Landmark(here.window + 1, first + len(window)))
            yield first, window

    @property
    def num_batches(self) -> int:
        """Global batches of the epoch, a multiple of `group`."""
        return self.landmark_of(self.num_windows).batch

    def has_batch(self, batch: int) -> bool:
        """Return whether the epoch has a global batch of this number; later windows are not counted for it."""
        return self.landmark_before(batch + 1).window < self.num_windows

    def place(self, batch: int) -> tuple[int, Landmark]:
        """Return global batch `batch`, or the epoch's end if that comes first, and the last landmark before it."""
        here = self.landmark_before(batch)
        return (batch, here) if here.window < self.num_windows else (here.batch, self.landmark_before(here.batch))

    def records_of(self, number: int) -> tuple[IntArray, IntArray]:
        """Return the records of window `number` in the epoch's order, and their tokens: int64[N] both."""
        records = self.order(*self.bounds(number))
        return records, self.lengths_at(records)

    def order(self, begin: int, end: int) -> IntArray:
        """Return int64[end - begin]: the records at positions [begin, end) of the epoch's order."""
        positions = np.arange(begin, end)
        if not self.shuffle:
            return positions
        size, block = self.num_records, self.shuffle_block
        return shuffle_records(positions, size, block, seed=self.seed, epoch=self.epoch)

    def shuffled(self, number: int, steps: int) -> IntArray:
        """Return int64[steps * group]: batches of window `number`, steps in random order and each step within."""
        if not self.shuffle:
            return np.arange(steps * self.group)
        return shuffle_steps(steps, self.group, seed=self.seed, epoch=self.epoch, window=number)


def longest_first(lengths: IntArray) -> IntArray:
    """Return int64[N]: the stable order of `lengths: int64[N]` from the longest on."""
    longest = int(lengths.max(initial=0))
    narrow = np.uint16 if longest < 2**16 else np.int64  # NumPy sorts 16-bit integers by radix
    return np.argsort((longest - lengths).astype(narrow), kind="stable")
