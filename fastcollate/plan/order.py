"""What all plans of an epoch share: an order of records, and windows planned one by one or many together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from fastcollate.plan.lanes import in_lanes, unit_of
from fastcollate.plan.shares import Share
from fastcollate.plan.sorting import shuffle_records, shuffle_steps
from fastcollate.plan.state import START, Landmark, Landmarks
from fastcollate.ragged import IntArray

__all__ = ["TOGETHER", "Landmark", "Lengths", "PlannedBatch", "Window", "WindowedPlan"]

_ANY_CAPACITY = {"max_documents": None, "multiple_of": 1}
TOGETHER = 65_536  # records of small windows that are planned together

AnyBatch = TypeVar("AnyBatch", bound="PlannedBatch")


class Lengths(Protocol):
    """`Lengths` are records that know how long they are: a store, one epoch of a mixture, an array in memory."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], the tokens of the records `indices: int64[M]`."""


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
        lanes: How many windows are planned side by side, as one: see `lanes`.
        max_documents: The records or pieces of a batch at most; None for any number. See `Capacity`.
        multiple_of: The number that the cells of each document are rounded up to a multiple of. See `Capacity`.
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
    lanes: int = 1
    max_documents: int | None = None
    multiple_of: int = 1
    epoch: int
    group: int
    records: Lengths
    landmark: Landmark = START

    def at(self, *, epoch: int, group: int, records: Lengths, landmark: Landmark) -> Self:
        """Return the same plan of another pass."""
        return replace(self, epoch=epoch, group=group, records=records, landmark=landmark)

    def fingerprint(self) -> dict[str, Any]:
        """Return the kind of plan and its arguments, its own first, as JSON: what a state must agree with."""
        beside = {"seed", "epoch", "group", "records", "landmark"}  # which a state holds of its own, or not at all
        beside |= {name for name, usual in _ANY_CAPACITY.items() if getattr(self, name) == usual}
        names = [field.name for field in reversed(fields(self)) if field.name not in beside]
        return {"plan": self.kind, **{name: getattr(self, name) for name in names}}

    @property
    def static(self) -> bool:
        """Whether every batch must have one of the planned shapes."""
        return False

    @abstractmethod
    def plan_window(self, number: int) -> Window[AnyBatch]:
        """Return the batches of window `number`, in global order."""

    @property
    def at_once(self) -> int:
        """How many windows are planned together: many small ones cost as much as one of as many records."""
        return 1

    def plan_together(self, first: int, last: int) -> tuple[Window[AnyBatch], IntArray]:  # noqa: ARG002  # one
        """Return the batches of windows `first` to `last`, `at_once` at most, and how many each has: int64[M]."""
        window = self.plan_window(first)
        return window, np.array([len(window)])

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
        """Windows of near-equal size, none larger than `window` for each lane."""
        return max(1, -(-self.num_records // (self.window * self.lanes)))

    @property
    def unit(self) -> int:
        """The fewest batches that are whole steps, and as many of each lane: a step where there is one lane."""
        return unit_of(self.group, self.lanes)

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

        The first one is the last that begins before global batch `start`. Small windows come together, as one.
        """
        here = self.landmark_before(start)
        while here.window < self.num_windows:
            first = here.batch
            together, counts = self.plan_together(here.window, min(here.window + self.at_once, self.num_windows))
            here = self.after(here, counts)
            yield first, together

    def after(self, here: Landmark, counts: IntArray) -> Landmark:
        """Return where the windows from `here` on end, which have `counts: int64[M]` batches: all landmarks."""
        for count in counts.tolist():
            here = self._landmarks.add(Landmark(here.window + 1, here.batch + count))
        return here

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

    def order(self, begin: int, end: int) -> IntArray:
        """Return int64[end - begin]: the records at positions [begin, end) of the epoch's order."""
        return self.records_at(np.arange(begin, end))

    def records_at(self, positions: IntArray) -> IntArray:
        """Return int64[M]: the records at `positions: int64[M]` of the epoch's order."""
        if not self.shuffle:
            return positions
        size, block = self.num_records, self.shuffle_block
        return shuffle_records(positions, size, block, seed=self.seed, epoch=self.epoch)

    def shuffled(self, number: int, units: IntArray) -> IntArray:
        """Return int64[units * unit]: the batches of windows from `number` on, units at random and each within.

        Each window has its number of `units: int64[M]`, which are steps where there is one lane. Batches are
        numbered through and stay in their window and lane.
        """
        if self.shuffle:
            batches = shuffle_steps(units, self.unit, seed=self.seed, epoch=self.epoch, window=number)
        else:
            batches = np.arange(int(units.sum()) * self.unit)
        return batches if self.lanes == 1 else in_lanes(batches, self.group, self.lanes)
