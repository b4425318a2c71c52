"""Records read ahead of their use, into memory of ours that is bounded: from a disk, or from far away."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from fastcollate.corpus.corpus import Records
from fastcollate.ragged import Found, IntArray, RaggedBatch
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["ReadAhead", "SlowRecords", "is_slow"]

_THREADS = 2  # one reads while another one copies; what a thread reads it asks for many ranges at a time


@runtime_checkable
class SlowRecords(Records, Protocol):
    """Records whose rows may take long to come: memory does not hold their files, or they are not on this machine.

    Several threads may `read` at the same time.
    """

    def is_slow(self) -> bool:
        """Return whether it is worth while to read ahead."""
        ...

    def read(self, indices: IntArray, columns: Collection[str], counts: ReadCounts) -> Found:
        """Return what `find` returns, with the rows in memory of their own; it waits until they are there.

        Args:
            indices: The records, int64[R], in any order and as often as wanted.
            columns: What is wanted beside the tokens.
            counts: What is added to: the bytes that were read, used, and found in a cache.

        Raises:
            StorageError: A disk or a server failed; file or object and range are named.
            StoreCorruptError: What was read is not what was written.
        """
        ...


def is_slow(records: Records) -> bool:
    """Return whether records are worth reading ahead."""
    return isinstance(records, SlowRecords) and records.is_slow()


class _Portion(NamedTuple):
    indices: IntArray
    columns: Collection[str]
    size: int
    counts: ReadCounts
    found: Future[Found]


class ReadAhead:
    """`ReadAhead` are `Records` that are read, in threads, in the order in which they were announced.

    Whoever announces records finds them later by the same calls with the same `indices`. What was announced and
    not yet found fills `most_bytes` at most: `room` says how much is left, and whoever announces more than that
    has it in memory all the same.

    Args:
        records: The records.
        most_bytes: The bytes of the rows that wait, are read, or were found last.
        counts: What all reading is added to.
    """

    def __init__(self, records: SlowRecords, *, most_bytes: int, counts: ReadCounts | None = None) -> None:
        self._records = records
        self.most_bytes = most_bytes
        self._counts = ReadCounts() if counts is None else counts
        self._waiting = deque[_Portion]()
        self._held = 0  # bytes that were announced, and not found before the last ones
        self._last = 0  # bytes that were found last, and may be in use still
        self._threads: ThreadPoolExecutor | None = None
        self._exiting = sys.is_finalizing  # when the interpreter ends, modules are gone before this is

    @property
    def room(self) -> int:
        """The bytes that may be announced now."""
        return self.most_bytes - self._held

    def announce(self, indices: IntArray, columns: Collection[str] = (), *, size: int = 0) -> None:
        """Have the records `indices: int64[R]` read; nothing is waited for.

        Args:
            indices: The records.
            columns: What is wanted beside the tokens.
            size: About how many bytes they are.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fastcollate-ahead")
        counts = ReadCounts()
        found = self._threads.submit(self._records.read, indices, columns, counts)
        self._waiting.append(_Portion(indices, columns, size, counts, found))
        self._held += size

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return the records `indices: int64[R]`, which were announced next; others are read at once.

        Raises:
            StorageError: A disk or a server failed.
            StoreCorruptError: What was read is not what was written.
        """
        begun, counts = time.perf_counter(), ReadCounts()
        self._held -= self._last
        self._last = 0
        if self._waiting and self._is_next(indices, columns):
            portion = self._waiting.popleft()
            self._last = portion.size
            found, counts = portion.found.result(), portion.counts
        else:
            found = self._records.read(indices, columns, counts)
        counts.seconds_waited += time.perf_counter() - begun
        self._counts += counts
        return found

    def _is_next(self, indices: IntArray, columns: Collection[str]) -> bool:
        first = self._waiting[0]
        return list(first.columns) == list(columns) and np.array_equal(first.indices, indices)

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the same records as a batch."""
        return self.find(indices, columns).batch()

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        return self._records.lengths_at(indices)

    def close(self) -> None:
        """Drop what was read ahead, and end the threads once they have read what they are at."""
        self._waiting.clear()
        self._held = self._last = 0
        if self._threads is not None and not self._exiting():
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None
