"""What reading from disks and object stores took, for whoever wants to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

__all__ = ["ReadCounts"]


@dataclass(slots=True)
class ReadCounts:
    """`ReadCounts` add up what was read ahead of its use.

    One is filled by one thread; several are added up with `+=` by whoever waits for the threads.

    Attributes:
        bytes_read: The bytes that a disk or an object store was asked for.
        bytes_used: The bytes of the rows that were wanted.
        cache_hits: The bytes that were asked for and had not to be read: they lay in memory, or in a cache.
        seconds_waited: The seconds that rows were waited for.

    >>> counts = ReadCounts(bytes_read=10)
    >>> counts += ReadCounts(bytes_read=5, bytes_used=12)
    >>> counts
    ReadCounts(bytes_read=15, bytes_used=12, cache_hits=0, seconds_waited=0.0)
    """

    bytes_read: int = 0
    bytes_used: int = 0
    cache_hits: int = 0
    seconds_waited: float = 0.0

    def __iadd__(self, other: ReadCounts) -> Self:
        self.bytes_read += other.bytes_read
        self.bytes_used += other.bytes_used
        self.cache_hits += other.cache_hits
        self.seconds_waited += other.seconds_waited
        return self
