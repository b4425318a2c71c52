"""Which records belong together: a group is consecutive records, and a plan numbers groups instead of records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import PlanError
from fastcollate.ragged import IntArray, rows_between

__all__ = ["Groups"]

_AT_A_TIME = 65_536  # groups whose lengths are looked at


@dataclass(frozen=True, eq=False)
class Groups:
    """`Groups` are the records of a corpus that belong together, neighbours each.

    Attributes:
        edges: The first record of each group, and the number of records, int64[N+1].

    >>> groups = Groups.of(np.array([4, 4, 0, 0, 0]))
    >>> groups.edges, groups.members(np.array([1, 0]))
    (array([0, 2, 5]), (array([2, 3, 4, 0, 1]), array([3, 2])))
    """

    edges: IntArray

    @classmethod
    def of(cls, numbers: IntArray) -> Groups:
        """Return the groups that records with these `numbers: int64[N]` are, neighbours of one number each.

        Raises:
            PlanError: A record has no group, or one whose other records lie elsewhere; it is named.
        """
        alone = np.flatnonzero(numbers < 0)
        if len(alone):
            raise PlanError(
                f"record {alone[0]} belongs to no group, and {len(alone)} records together: groups=True needs a "
                "group for each; leave them out, or set groups=False"
            )
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        firsts = numbers[begins]
        order = np.argsort(firsts, kind="stable")
        torn = order[1:][firsts[order[1:]] == firsts[order[:-1]]]
        if len(torn):
            record = int(begins[torn.min()])
            raise PlanError(
                f"record {record} is of group {numbers[record]}, whose other records lie apart from it: the "
                "records of a group are neighbours; sort the corpus by its groups"
            )
        return cls(np.append(begins, len(numbers)))

    def __len__(self) -> int:
        return len(self.edges) - 1

    def __repr__(self) -> str:
        return f"Groups({len(self)} of up to {self.largest} records)"

    @cached_property
    def largest(self) -> int:
        """The records of the largest group."""
        return int(np.diff(self.edges).max(initial=1))

    def sizes(self, groups: IntArray) -> IntArray:
        """Return int64[M]: the records of each of `groups: int64[M]`."""
        found: IntArray = self.edges[groups + 1] - self.edges[groups]
        return found

    def members(self, groups: IntArray) -> tuple[IntArray, IntArray]:
        """Return the records of `groups: int64[M]` side by side, int64[R], and how many each has, int64[M]."""
        sizes = self.sizes(groups)
        return rows_between(self.edges[groups], sizes), sizes

    def lengths(
        self, groups: IntArray, lengths_at: Callable[[IntArray], IntArray], together: np.ufunc
    ) -> IntArray:
        """Return int64[M]: the lengths of the records of each of `groups: int64[M]`, added up, or the longest."""
        records, sizes = self.members(groups)
        if not len(records):
            return sizes
        found: IntArray = together.reduceat(lengths_at(records), np.cumsum(sizes) - sizes)
        return found

    def check(self, needed: Callable[[IntArray], IntArray], most: int, what: str) -> None:
        """Refuse a group that no batch holds.

        Args:
            needed: What each of some groups takes of a batch, int64[M] of int64[M].
            most: What a batch has of it.
            what: Both in words.

        Raises:
            PlanError: A group needs more; it is named by its records.
        """
        for begin in range(0, len(self), _AT_A_TIME):
            found = needed(np.arange(begin, min(begin + _AT_A_TIME, len(self))))
            over: NDArray[np.intp] = np.flatnonzero(found > most)
            if len(over):
                group = begin + int(over[0])
                first, last = self.edges[group : group + 2].tolist()
                raise PlanError(
                    f"the group of records {first} to {last - 1} needs {found[over[0]]} {what}, and a batch has "
                    f"{most}: make batches larger, or leave the group out"
                )
