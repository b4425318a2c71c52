from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastcollate.plan.bucket_plan import Buckets, BucketWindow
from fastcollate.plan.order import Landmark
from fastcollate.ragged import IntArray

__all__ = ["TokenBuckets"]


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
        return self.max_tokens // width

    def tokens_per_batch(self, mean_length: float) -> float:  # noqa: ARG002  # filled up, whatever the records
        """Return how many tokens a batch has at most, whatever its records' lengths are."""
        return self.max_tokens

    def next_after(self, here: Landmark) -> Landmark:
        """Return where the window after `here` begins; it costs what planning `here` costs."""
        return Landmark(here.window + 1, here.batch + len(self.cut(here.window)))

    def cut(self, number: int) -> BucketWindow:
        """Return steps of `group` batches, each with as many rows as its width leaves room for.

        The last step of a window may have fewer rows: they are dealt evenly, and stay last.
        """
        ids, lengths = self.longest_of(*self.bounds(number))
        firsts, capacities = self._greedy_steps(lengths)
        sizes = np.minimum(np.append(firsts[1:], len(ids)) - firsts, capacities * self.group)
        partial = len(sizes) > 0 and bool(sizes[-1] < capacities[-1] * self.group)
        edges = firsts[:, None] + np.arange(self.group + 1) * sizes[:, None] // self.group
        order = self.shuffled(number, len(sizes) - partial)
        if partial and not (self.drop_last and number == self.num_windows - 1):
            order = np.concatenate([order, np.arange(len(order), len(order) + self.group)])
        starts, stops = edges[:, :-1].ravel()[order], edges[:, 1:].ravel()[order]
        widths = self.widths_for(np.repeat(lengths[firsts], self.group)[order])
        rows = np.repeat(capacities, self.group)[order] if self.static else np.maximum(stops - starts, 1)
        return BucketWindow(ids, starts, stops, rows, widths)

    def _greedy_steps(self, lengths: IntArray) -> tuple[IntArray, IntArray]:
        """The first record of each step and the rows its batches have room for, from the longest on."""
        firsts: list[int] = []
        capacities: list[int] = []
        widths = self.widths_for(lengths) if self.static else lengths
        at = 0
        while at < len(lengths):
            capacity = self.room(int(widths[at]))
            firsts.append(at)
            capacities.append(capacity)
            at += capacity * self.group
        return np.array(firsts, np.int64), np.array(capacities, np.int64)
