"""Rows that lie near each other as fewer, longer ones, which are read or copied at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from fastcollate.ragged.ragged import IntArray, offsets_of

__all__ = ["MergedRows"]

_APART = 1 << 44  # values from one buffer to the next, when all are numbered through: more than any buffer has


class MergedRows(NamedTuple):
    """`MergedRows` are stretches of buffers that hold some rows, each value once, whatever the rows' order.

    Read side by side, they are one array, in which every row has its place.

    Attributes:
        homes: The number of the buffer that each stretch lies in, rising: int64[M].
        begins, ends: The stretch's first value in its buffer, and the one after its last: int64[M] each.
        places: Where each row begins in the values of all stretches side by side: int64[R].
    """

    homes: IntArray
    begins: IntArray
    ends: IntArray
    places: IntArray

    @classmethod
    def of(cls, homes: IntArray | None, starts: IntArray, lengths: IntArray, *, gap: int = 0) -> Self:
        """Return the stretches that hold rows.

        Args:
            homes: The number of the buffer that each row lies in, int64[R]; None where there is one.
            starts: Each row's first value in its buffer, int64[R].
            lengths: Each row's values, int64[R]; one without any has the place 0.
            gap: So many values between two rows, or fewer, are read along.

        >>> MergedRows.of(np.array([1, 0, 0]), np.array([9, 5, 2]), np.array([1, 2, 3]))[:3]
        (array([0, 1]), array([2, 9]), array([ 7, 10]))
        """
        real = np.flatnonzero(lengths)
        begins = starts[real] if homes is None else starts[real] + homes[real] * _APART
        order = np.argsort(begins, kind="stable")
        begins = begins[order]
        reach = np.maximum.accumulate(begins + lengths[real[order]])  # rows may overlap
        fresh = np.ones(len(begins), bool)
        fresh[1:] = begins[1:] > reach[:-1] + gap
        firsts = np.flatnonzero(fresh)
        ends = reach[np.append(firsts[1:], len(begins)) - 1] if len(firsts) else begins
        sizes, home = ends - begins[firsts], begins[firsts] // _APART
        edges, stretch = offsets_of(sizes), np.cumsum(fresh) - 1
        places = np.zeros(len(starts), np.int64)
        places[real[order]] = edges[stretch] + begins - begins[firsts[stretch]]
        return cls(home, begins[firsts] - home * _APART, ends - home * _APART, places)

    @property
    def sizes(self) -> IntArray:
        """The values of each stretch, int64[M]."""
        return self.ends - self.begins

    def by_home(self) -> Iterator[tuple[int, slice]]:
        """Yield the number of each buffer, and which of the stretches lie in it."""
        edges = np.flatnonzero(np.diff(self.homes, prepend=-1, append=-1)).tolist()
        for first, last in pairwise(edges):
            yield int(self.homes[first]), slice(first, last)
