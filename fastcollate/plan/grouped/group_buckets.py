"""Plans of length buckets over groups: a batch has whole groups, neighbours in length, as it has room for."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Self

import numpy as np

from fastcollate.plan.buckets.bucket_window import BucketWindow
from fastcollate.plan.buckets.token_buckets import Steps, TokenBuckets
from fastcollate.plan.grouped.groups import Groups
from fastcollate.plan.order import PlannedBatch
from fastcollate.plan.shares import Share
from fastcollate.ragged import IntArray, offsets_of, rows_between

__all__ = ["GroupBuckets"]


@dataclass(frozen=True, slots=True)
class GroupBatch(PlannedBatch):
    """A `GroupBatch` holds the records of whole groups; `edges: int64[N+1]` are the rows of each."""

    edges: IntArray

    @property
    def real_rows(self) -> int:
        """The groups: what can be dealt to ranks."""
        return len(self.edges) - 1

    def halves(self) -> tuple[Self, Self]:
        """Return the groups in two batches, the odd one in the first."""
        half = (self.real_rows + 1) // 2
        middle, end = int(self.edges[half]), int(self.edges[-1])
        first = type(self)(self.record_ids[:middle], self.width, self.edges[: half + 1])
        return first, type(self)(self.record_ids[middle:end], self.width, self.edges[half:] - middle)

    def filled(self, rows: int) -> Self:
        """Return the same batch with filler rows up to `rows`."""
        missing = np.full(max(0, rows - self.rows), -1, np.int64)
        return type(self)(np.concatenate([self.record_ids, missing]), self.width, self.edges)


@dataclass(frozen=True, slots=True)
class GroupWindow(BucketWindow):
    """A `GroupWindow` is a window of groups: `record_ids`, `starts` and `stops` number them; `rows` are records.

    Attributes:
        groups: The records of each group.
    """

    groups: Groups

    def __getitem__(self, number: int) -> GroupBatch:
        """Return batch `number` of the window, filled up with filler rows."""
        records, sizes = self.groups.members(self.record_ids[self.starts[number] : self.stops[number]])
        batch = GroupBatch(records, int(self.widths[number]) or None, offsets_of(sizes))
        return batch.filled(int(self.rows[number]))

    def share(self, numbers: IntArray) -> Share:
        """Return the batches `numbers: int64[C]` of the window as one share, filled up with filler rows."""
        starts = self.starts[numbers]
        held = self.stops[numbers] - starts
        records, sizes = self.groups.members(self.record_ids[rows_between(starts, held)])
        real = np.diff(offsets_of(sizes)[offsets_of(held)])
        edges, widths = offsets_of(self.rows[numbers]), self.widths[numbers]
        ids = np.full(edges[-1], -1)
        ids[rows_between(edges[:-1], real)] = records
        return Share(ids, edges, widths if widths.any() else None)

    def with_step(self, at: int, other: BucketWindow, first: int, group: int) -> GroupWindow:
        """Return the window with the `group` batches from `at` on taken from `other` from `first` on."""
        moved = BucketWindow.with_step(self, at, other, first, group)
        return GroupWindow(moved.record_ids, moved.starts, moved.stops, moved.rows, moved.widths, self.groups)


@dataclass(frozen=True, kw_only=True)
class GroupBuckets(TokenBuckets):
    """`GroupBuckets` plan batches of whole groups; see `TokenBuckets` for the other fields.

    Attributes:
        max_tokens: The padded tokens of a batch at most; 0 where rows decide.
        batch_size: The rows of a batch at most; 0 where tokens decide.
        groups: The records of each group; the plan numbers groups.
    """

    kind = "buckets of groups"

    batch_size: int
    groups: Groups

    def fingerprint(self) -> dict[str, Any]:
        """Return the kind of plan and its arguments, as JSON; the groups are the corpus's."""
        found = super().fingerprint()
        del found["groups"]
        return found

    def room(self, width: int) -> int:
        """Return how many rows a batch of this width has room for."""
        return self.batch_size or super().room(width)

    def tokens_per_batch(self, mean_length: float) -> float:
        """Return how many tokens a batch has at most, or of records with `mean_length` tokens each."""
        return self.max_tokens or self.batch_size * mean_length

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], the tokens of the longest record of the groups `indices: int64[M]`."""
        longest = self.groups.lengths(indices, self.records.lengths_at, np.maximum)
        return longest if self.max_length is None else np.minimum(longest, self.max_length)

    def check(self) -> None:
        """Refuse a group that no batch holds.

        Raises:
            PlanError: It has more rows than a batch; or, all as wide as its longest record, more tokens.
        """
        if self.batch_size:
            self.groups.check(self.groups.sizes, self.batch_size, "rows")
        else:
            self.groups.check(self._padded_tokens, self.max_tokens, "padded tokens")

    def _padded_tokens(self, groups: IntArray) -> IntArray:
        longest = self.lengths_at(groups)
        widths = self.widths_for(longest) if self.static else longest
        return self.groups.sizes(groups) * (-(-widths // self.multiple_of) * self.multiple_of)

    def window_of(
        self, ids: IntArray, starts: IntArray, stops: IntArray, rows: IntArray, widths: IntArray
    ) -> BucketWindow:
        """Return the batches of a window, each with so many rows at least."""
        before = offsets_of(self.groups.sizes(ids))
        rows = np.maximum(before[stops] - before[starts], rows)
        return GroupWindow(ids, starts, stops, rows, widths, self.groups)

    def cut_steps(self, ids: IntArray, lengths: IntArray, ends: list[int]) -> Steps:
        """Return the steps of windows that end at `ends`, each batch with as many groups as it has room for.

        A step that its window's groups do not fill has its largest batches halved until there is one a rank.
        """
        before = offsets_of(self.groups.sizes(ids)).tolist()
        widths = (self.widths_for(lengths) if self.static else lengths).tolist()
        steps, rooms, partial, at = list[list[tuple[int, int]]](), list[int](), list[bool](), 0
        for end in ends:
            while at < end:
                room, batches = self.room(widths[at]), list[tuple[int, int]]()
                while at < end and len(batches) < self.group:
                    stop = max(at + 1, min(end, bisect_right(before, before[at] + room) - 1))
                    batches.append((at, stop))
                    at = stop
                first, last = batches[-1]
                short = before[last] - before[first] + self.groups.largest <= room
                partial.append(at == end and (len(batches) < self.group or short))
                steps.append(_dealt(batches, self.group))
                rooms.append(room)
        found = np.array(steps, np.int64).reshape(-1, self.group, 2)
        return Steps(found[:, :, 0], found[:, :, 1], np.array(rooms, np.int64), np.array(partial, bool))


def _dealt(batches: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """As many batches as ranks: the one of the most groups is halved, until all have one at most."""
    if len(batches) == count:
        return batches
    most = [(start - stop, start, stop) for start, stop in batches]
    heapify(most)
    while len(most) < count:
        _, start, stop = heappop(most)
        half = (start + stop + 1) // 2
        for begin, end in ((start, half), (half, stop)):
            heappush(most, (begin - end, begin, end))
    return sorted((start, stop) for _, start, stop in most)
