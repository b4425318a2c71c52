"""What worker processes read from disks and object stores, counted where the main process sees it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.dataset.shared_block import shared_integers
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["SharedReads"]

_MICRO = 1e6


class SharedReads:
    """`SharedReads` are the counts of some workers, in memory that crosses process borders.

    Args:
        memory: The numbers, int64[workers, 4]: bytes read and used, hits, microseconds waited.
    """

    def __init__(self, memory: torch.Tensor) -> None:
        self._memory = memory
        self._taken = np.zeros(4, np.int64)

    @classmethod
    def of_workers(cls, workers: int) -> SharedReads:
        """Return the counts of workers that have read nothing."""
        return cls(shared_integers(workers, 4))

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedReads, (self._memory,)

    def of(self, worker: int) -> ReadCounts:
        """Return what a worker adds to."""
        row = self._memory.numpy()[worker]
        read, used, hits, waited = row.tolist()
        return _Shown(read, used, hits, waited / _MICRO, row)

    def take(self) -> ReadCounts:
        """Return what was read since the last call; the seconds are those that a worker waited in the mean."""
        now = self._memory.numpy().sum(axis=0)
        read, used, hits, waited = (now - self._taken).tolist()
        self._taken = now
        return ReadCounts(read, used, hits, waited / _MICRO / len(self._memory))


class _Shown(ReadCounts):
    """Counts that are written where others read them."""

    def __init__(self, read: int, used: int, hits: int, waited: float, row: NDArray[np.int64]) -> None:
        super().__init__(read, used, hits, waited)
        self._row = row

    def __iadd__(self, other: ReadCounts) -> Self:
        super().__iadd__(other)
        self._row[:] = self.bytes_read, self.bytes_used, self.cache_hits, self.seconds_waited * _MICRO
        return self
