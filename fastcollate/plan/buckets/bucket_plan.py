"""Plans of length buckets: the batches of a step are neighbours in length, so that little is padding.

The records of a window, longest first, are cut into *steps*: neighbours in length that fill `group` batches,
one for each rank. Steps are then shuffled, and the batches inside a step dealt to the ranks at random. A
batch is a slice of the window's sorted records, so planning costs one permutation, one sort and a few
integers a batch. Global batch `g` is batch `g % group` of step `g // group`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastcollate.plan.buckets.bucket_window import BucketWindow
from fastcollate.plan.order import TOGETHER, PlannedBatch, Window, WindowedPlan
from fastcollate.plan.sorting import longest_first
from fastcollate.ragged import IntArray

__all__ = ["Buckets"]

_WIDTHS_SPELLED_OUT = 64  # in a fingerprint: a state stays small


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
        if self.lanes > 1:
            return 1
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
