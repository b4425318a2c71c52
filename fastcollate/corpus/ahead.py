"""Records read ahead of their use, into memory of ours that is bounded: from a disk, or from far away."""

from __future__ import annotations

import sys
import threading
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
_FIRST = 8 << 20  # bytes that may wait at first, so that nothing keeps the first batch from coming soon


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

    Whoever announces records finds them later by the same calls with the same `indices`; one thread may announce
    while another one finds. What was announced and not yet found fills `most_bytes` at most, if whoever announces
    waits for room: less at first, and more the more was found.

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
        self._room = min(_FIRST, most_bytes)
        self._held = 0  # bytes that were announced, and not found before the last ones
        self._last = 0  # bytes that were found last, and may be in use still
        self._changed, self._closed = threading.Condition(), False
        self._threads: ThreadPoolExecutor | None = None
        self._exiting = sys.is_finalizing  # when the interpreter ends, modules are gone before this is

    def wait_for_room(self) -> bool:
        """Return once there is room to announce some more: True, or False if all is over.

        Two portions always have room: whoever is at one wants to know whether another one follows.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < 2 or self._held < self._room)
            return not self._closed

    def announce(self, indices: IntArray, columns: Collection[str] = (), *, size: int = 0) -> None:
        """Have the records `indices: int64[R]` read; nothing is waited for.

        Args:
            indices: The records.
            columns: What is wanted beside the tokens.
            size: About how many bytes they are.
        """
        counts = ReadCounts()
        with self._changed:
            if self._closed:
                return
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fastcollate-ahead")
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
        portion = self._next(indices, columns)
        if portion is None:
            found = self._records.read(indices, columns, counts)
        else:
            found, counts = portion.found.result(), portion.counts
            with self._changed:
                self._room = min(self.most_bytes, self._room + 2 * portion.size)
                self._changed.notify_all()
        counts.seconds_waited += time.perf_counter() - begun
        self._counts += counts
        return found

    def _next(self, indices: IntArray, columns: Collection[str]) -> _Portion | None:
        """Return what was announced next, if it is these records; what was found before it is in use no more."""
        with self._changed:
            self._held -= self._last
            self._last = 0
            self._changed.notify_all()
            first = self._waiting[0] if self._waiting else None
            if first is None or not (
                list(first.columns) == list(columns) and np.array_equal(first.indices, indices)
            ):
                return None
            self._last = first.size
            return self._waiting.popleft()

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the same records as a batch."""
        return self.find(indices, columns).batch()

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        return self._records.lengths_at(indices)

    def end(self) -> None:
        """End the threads once all is read that was announced; nothing more is."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def close(self) -> None:
        """Drop what was read ahead, and end the threads once they have read what they are at."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._threads is not None and not self._exiting():
            self._threads.shutdown(wait=False, cancel_futures=True)
