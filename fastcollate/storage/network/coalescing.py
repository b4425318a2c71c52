"""Ranges of bytes that lie near each other as fewer, larger ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["cut_out", "merged"]

_GAP_BYTES = 1 << 20  # takes less time to read than another request
_MOST_BYTES = 1 << 23

Range = tuple[int, int]


def merged(ranges: Sequence[Range], *, gap: int = _GAP_BYTES, most: int = _MOST_BYTES) -> list[Range]:
    """Return the ranges to read, rising and apart: neighbours as one, and long ones in several.

    Args:
        ranges: Each the first byte and the one after the last, in any order; they may overlap.
        gap: The bytes between two ranges that are read along; 1 MiB by default.
        most: The most bytes of one range that is read; 8 MiB by default.

    >>> merged([(50, 60), (0, 4), (6, 9)], gap=8, most=6)
    [(0, 6), (6, 9), (50, 56), (56, 60)]
    """
    joined = list[Range]()
    for start, stop in sorted(r for r in ranges if r[0] < r[1]):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return [(at, min(at + most, stop)) for start, stop in joined for at in range(start, stop, most)]


def cut_out(wanted: Range, blocks: Mapping[Range, memoryview]) -> memoryview:
    """Return the bytes of a range from the blocks that hold it: a view where one block has all of it.

    >>> bytes(cut_out((1, 5), {(0, 3): memoryview(b"abc"), (3, 6): memoryview(b"def")}))
    b'bcde'
    """
    start, stop = wanted
    pieces = [
        data[max(start - first, 0) : stop - first]
        for (first, last), data in blocks.items()
        if first < stop and start < last
    ]
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
