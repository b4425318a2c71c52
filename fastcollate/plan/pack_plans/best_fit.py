"""Putting documents into packs of a fixed length: best fit decreasing, by counts rather than one by one.

Documents are taken longest first. All documents of one length meet all open packs of one room (tokens still
free) at once: the tightest packs that have room take as many as fit, then the next tightest, then new packs.
That is what best fit decreasing does document by document, but each step moves a whole group, so the time
depends on the number of distinct lengths and rooms, not on the number of open packs.
"""

from __future__ import annotations

import numpy as np

from fastcollate.ragged import IntArray

__all__ = ["best_fit_decreasing"]


def best_fit_decreasing(lengths: IntArray, capacity: int) -> tuple[IntArray, int]:
    """Return the pack of each document, int64[N], and how many packs there are.

    Args:
        lengths: The tokens of each document, longest first, each from 1 to `capacity`: int64[N].
        capacity: The tokens of a pack.

    >>> best_fit_decreasing(np.array([6, 5, 4, 4, 1]), 10)
    (array([0, 1, 0, 1, 1]), 2)
    """
    rooms = _Rooms(capacity)
    firsts = np.flatnonzero(np.diff(lengths, prepend=capacity + 1))
    counts = np.diff(firsts, append=len(lengths))
    for left, length in zip(counts.tolist(), lengths[firsts].tolist(), strict=True):
        while left:
            room, group = rooms.tightest(length, left)
            each = room // length
            whole = min(left // each, len(group))
            left -= whole * each  # noqa: PLW2901
            if whole == len(group):
                rooms.fill(room, group, each, length)
                continue
            if whole:
                rooms.fill(room, group[:whole], each, length)
            if left:
                rooms.fill(room, [group[whole]], left, length)
                whole, left = whole + 1, 0  # noqa: PLW2901
            rooms.put(room, group[whole:])
    return rooms.filled(), rooms.opened


class _Rooms:
    """Open packs by the room they have left; which rooms occur is a bit set in one integer.

    Packs are lists of their numbers: they are few at a time, for which arrays are slower.
    """

    def __init__(self, capacity: int) -> None:
        self.opened = 0
        self._capacity = capacity
        self._groups: dict[int, list[int]] = {}
        self._bits = 0
        self._filled = list[int]()  # the packs that documents were put into, in order,
        self._sizes, self._documents = list[int](), list[int]()  # so many at a time, and documents into each

    def fill(self, room: int, packs: list[int], documents: int, length: int) -> None:
        """Put so many documents of this length into each of some packs that have this room."""
        self._filled += packs
        self._sizes.append(len(packs))
        self._documents.append(documents)
        self.put(room - documents * length, packs)

    def filled(self) -> IntArray:
        """Return the pack of each document, in their order: int64[N]."""
        sizes, documents = (np.array(counts, np.int64) for counts in (self._sizes, self._documents))
        return np.array(self._filled, np.int64).repeat(documents.repeat(sizes))

    def tightest(self, length: int, documents: int) -> tuple[int, list[int]]:
        """Take the packs of the least room that holds `length`; open new ones if there are none."""
        wide = self._bits >> length
        if wide == 0:
            first = self.opened
            self.opened += -(-documents // (self._capacity // length))
            return self._capacity, list(range(first, self.opened))
        room = length + (wide & -wide).bit_length() - 1
        self._bits ^= 1 << room
        return room, self._groups.pop(room)

    def put(self, room: int, packs: list[int]) -> None:
        """Give packs back with the room they now have; full ones are done with."""
        if room and packs:
            if room in self._groups:
                self._groups[room] += packs
                return
            self._groups[room] = packs
            self._bits |= 1 << room
