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
    packs = np.empty(len(lengths), np.int64)
    rooms = _Rooms(capacity)
    firsts = np.flatnonzero(np.diff(lengths, prepend=capacity + 1))
    ends = np.append(firsts, len(lengths))[1:]
    for first, end, length in zip(firsts.tolist(), ends.tolist(), lengths[firsts].tolist(), strict=True):
        at = first
        while at < end:
            room, group = rooms.tightest(length, end - at)
            each = room // length
            whole, odd = divmod(min(end - at, len(group) * each), each)
            packs[at : at + whole * each] = np.repeat(group[:whole], each) if each > 1 else group[:whole]
            at += whole * each
            rooms.put(room - each * length, group[:whole])
            if odd:
                packs[at : at + odd] = group[whole]
                at += odd
                rooms.put(room - odd * length, group[whole : whole + 1])
                whole += 1
            rooms.put(room, group[whole:])
    return packs, rooms.opened


class _Rooms:
    """Open packs by the room they have left; which rooms occur is a bit set in one integer."""

    def __init__(self, capacity: int) -> None:
        self.opened = 0
        self._capacity = capacity
        self._groups: dict[int, list[IntArray]] = {}
        self._bits = 0

    def tightest(self, length: int, documents: int) -> tuple[int, IntArray]:
        """Take the packs of the least room that holds `length`; open new ones if there are none."""
        wide = self._bits >> length
        if wide == 0:
            first = self.opened
            self.opened += -(-documents // (self._capacity // length))
            return self._capacity, np.arange(first, self.opened)
        room = length + (wide & -wide).bit_length() - 1
        self._bits ^= 1 << room
        groups = self._groups.pop(room)
        return room, groups[0] if len(groups) == 1 else np.concatenate(groups)

    def put(self, room: int, packs: IntArray) -> None:
        """Give packs back with the room they now have; full ones are done with."""
        if room and len(packs):
            self._groups.setdefault(room, []).append(packs)
            self._bits |= 1 << room
