from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.plan.buckets.bucket_plan import Buckets
from fastcollate.plan.buckets.bucket_window import BucketWindow
from fastcollate.plan.lanes import cut_lanes, deal_lanes, in_lanes
from fastcollate.plan.shares import dealt_evenly
from fastcollate.plan.sorting import longest_first
from fastcollate.plan.state import Landmark
from fastcollate.ragged import IntArray, rows_between

__all__ = ["Steps", "TokenBuckets"]


class Steps(NamedTuple):
    """The steps of some windows, `group` batches each, in the order of their lengths; letter: S, their number.

    Attributes:
        starts: The first record of each batch, int64[S, ...].
        stops: The record after each batch, int64[S, ...].
        capacities: The rows that each step's batches have room for, int64[S].
        partial: Whether a step has fewer rows than there is room for: such a step is its window's last.
    """

    starts: IntArray
    stops: IntArray
    capacities: IntArray
    partial: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TokenBuckets(Buckets):
    """`TokenBuckets` plan batches of as many rows as their width leaves room for.

    See `Buckets` for the other fields.

    Attributes:
        max_tokens: The padded tokens of a batch at most.
    """

    kind = "token buckets"

    max_tokens: int

    def room(self, width: int) -> int:
        """Return how many rows a batch of this width has room for."""
        rows = self.max_tokens // (-(-width // self.multiple_of) * self.multiple_of)
        return rows if self.max_documents is None else min(rows, self.max_documents)

    def tokens_per_batch(self, mean_length: float) -> float:  # noqa: ARG002  # filled up, whatever the records
        """Return how many tokens a batch has at most, whatever its records' lengths are."""
        return self.max_tokens

    def next_after(self, here: Landmark) -> Landmark:
        """Return where the window after `here` begins; small windows are counted together."""
        if here.window not in self._counts:
            _, counts = self.cut(here.window, min(here.window + self.at_once, self.num_windows))
            self._counts.update(enumerate(counts.tolist(), here.window))
        return Landmark(here.window + 1, here.batch + self._counts[here.window])

    @cached_property
    def _counts(self) -> dict[int, int]:
        """How many batches windows have, as far as was counted."""
        return {}

    def cut(self, first: int, last: int) -> tuple[BucketWindow, IntArray]:
        """Return steps of `group` batches, each with as many rows as its width leaves room for.

        The last step of a window may have fewer rows: they are dealt evenly, and stay last.
        """
        if self.lanes > 1:
            return self._cut_lanes(first)
        edges = [self.bounds(window)[0] for window in range(first, last + 1)]
        ids, lengths = self.longest_of(edges)
        ends = np.array(edges[1:]) - edges[0]
        steps = self.cut_steps(ids, lengths, ends.tolist())
        firsts, partial = steps.starts[:, 0], steps.partial
        home = np.searchsorted(ends, firsts, side="right")
        full = np.bincount(home[~partial], minlength=len(ends))
        batches = np.arange(steps.starts.size).reshape(-1, self.group)
        order = batches[~partial].ravel()[self.shuffled(first, full)]
        last_steps = np.flatnonzero(partial)
        if self.drop_last and last == self.num_windows and len(partial) and partial[-1]:
            last_steps = last_steps[:-1]
        places = np.repeat(np.cumsum(full)[home[last_steps]] * self.group, self.group)
        order = np.insert(order, places, batches[last_steps].ravel())
        counts = (full + np.bincount(home[last_steps], minlength=len(ends))) * self.group
        starts, stops = steps.starts.ravel()[order], steps.stops.ravel()[order]
        widths = self.widths_for(np.repeat(lengths[firsts], self.group)[order])
        planned = np.repeat(steps.capacities, self.group)[order] if self.static else np.ones_like(starts)
        return self.window_of(ids, starts, stops, planned, widths), counts

    def window_of(
        self, ids: IntArray, starts: IntArray, stops: IntArray, rows: IntArray, widths: IntArray
    ) -> BucketWindow:
        """Return the batches of a window, each with so many rows at least; see `BucketWindow`."""
        return BucketWindow(ids, starts, stops, np.maximum(stops - starts, rows), widths)

    def cut_steps(self, ids: IntArray, lengths: IntArray, ends: list[int]) -> Steps:  # noqa: ARG002  # groups do
        """Return the steps of windows that end at `ends`; the last of each may have fewer rows.

        Each batch has the rows that its own longest one leaves room for, so that those of a step have nearly
        `max_tokens` each. With static widths they have one shape, by the step's longest row.

        Args:
            ids: The records, each window's longest first: int64[N].
            lengths: Their lengths, int64[N].
            ends: Where each window ends.
        """
        if self.group > 1 and not self.static:
            return self._filled_steps(lengths.tolist(), ends)
        firsts, capacities = self._greedy_steps(lengths, ends)
        sizes = np.diff(firsts, append=len(lengths))
        cuts = dealt_evenly(firsts, sizes, self.group)
        return Steps(cuts[:, :-1], cuts[:, 1:], capacities, sizes < capacities * self.group)

    def _filled_steps(self, lengths: list[int], ends: list[int]) -> Steps:
        """The steps of windows, whose batches are filled up one by one; rows too few for that are dealt evenly."""
        edges, rooms, partial, at = list[list[int]](), list[int](), list[bool](), 0
        for end in ends:
            while at < end:
                room, step = self.room(lengths[at]), self._filled(lengths, at, end)
                wanted, alike = step[-1] - at, room * self.group  # rows of full batches, and of as many rows each
                if len(step) <= self.group or end - at <= min(alike, wanted - 1):
                    size = min(alike, end - at)
                    step, wanted = [at + size * part // self.group for part in range(self.group + 1)], alike
                step[-1] = min(step[-1], end)
                partial.append(step[-1] - at < wanted)
                edges.append(step)
                rooms.append(room)
                at = step[-1]
        found = np.array(edges, np.int64).reshape(-1, self.group + 1)
        return Steps(found[:, :-1], found[:, 1:], np.array(rooms, np.int64), np.array(partial, bool))

    def _filled(self, lengths: list[int], at: int, end: int) -> list[int]:
        """Where the batches of a step begin, and where the last one ends; they are fewer if the rows are."""
        edges = [at]
        while at < end and len(edges) <= self.group:
            at += self.room(lengths[at])
            edges.append(at)
        return edges

    def _cut_lanes(self, number: int) -> tuple[BucketWindow, IntArray]:
        """The batches of one window of several lanes: units of all lanes, and steps of what is left in them."""
        begin, end = self.bounds(number)
        edges = begin + np.arange(self.lanes + 1) * (end - begin) // self.lanes
        ids, lengths = self.longest_of(edges.tolist())
        edges -= begin
        widths = self.widths_for(lengths) if self.static else lengths
        starts, stops, rests = cut_lanes(widths, edges, self.unit, self.room)
        order = self.shuffled(number, np.array([len(starts) // self.unit]))
        at_end = self.drop_last and number == self.num_windows - 1
        if not at_end and int((edges[1:] - rests).min()) >= self.unit // self.lanes:
            dealt, rests = deal_lanes(rests, edges[1:], self.unit), edges[1:]
            order = np.append(order, len(starts) + in_lanes(np.arange(self.unit), self.group, self.lanes))
            starts, stops = np.append(starts, dealt[0]), np.append(stops, dealt[1])
        left = rows_between(rests, edges[1:] - rests)
        left = left[longest_first(lengths[left])]
        firsts, capacities = self._greedy_steps(lengths[left], [len(left)])
        sizes = np.diff(firsts, append=len(left))
        if at_end:
            kept = int((sizes == capacities * self.group).sum())
            firsts, capacities, sizes = firsts[:kept], capacities[:kept], sizes[:kept]
        cuts = dealt_evenly(len(ids) + firsts, sizes, self.group)
        longest = np.repeat(lengths[starts].reshape(-1, self.unit).max(axis=1), self.unit)[order]
        widths = self.widths_for(np.append(longest, np.repeat(lengths[left][firsts], self.group)))
        starts = np.append(starts[order], cuts[:, :-1].ravel())
        stops = np.append(stops[order], cuts[:, 1:].ravel())
        rooms = [self.room(width) for width in widths.tolist()] if self.static else 1
        rows = np.maximum(stops - starts, rooms)
        return BucketWindow(np.append(ids, ids[left]), starts, stops, rows, widths), np.array([len(starts)])

    def _greedy_steps(self, lengths: IntArray, ends: list[int]) -> tuple[IntArray, IntArray]:
        """The first record of each step and the rows its batches have room for; windows end at `ends`."""
        firsts: list[int] = []
        capacities: list[int] = []
        widths = self.widths_for(lengths) if self.static else lengths
        at = 0
        for end in ends:
            while at < end:
                capacity = self.room(int(widths[at]))
                firsts.append(at)
                capacities.append(capacity)
                at = min(at + capacity * self.group, end)
        return np.array(firsts, np.int64), np.array(capacities, np.int64)
