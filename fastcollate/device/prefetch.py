"""Running an iterator ahead of its consumer, in a thread that ends with it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from fastcollate.errors import InputError

__all__ = ["Prefetcher"]

T = TypeVar("T")

# Waking a thread costs more than collating a small batch, so small batches are handed over several at a time:
# up to this many bytes of tensors.
_PARCEL = 1 << 21
_ITEMS = 64  # and never more items than this


@dataclass(slots=True)
class _Shared(Generic[T]):
    """What producer and consumer share; neither holds the other, so that dropping the consumer ends both.

    Garbage collection may end them from any line of either thread, so both speak through queues that a thread can
    put into while it is inside one of their methods. `room` has an item for each parcel that may be made.
    """

    parcels: SimpleQueue[list[T] | BaseException | None] = field(default_factory=SimpleQueue)
    room: SimpleQueue[None] = field(default_factory=SimpleQueue)
    closed: bool = False


class Prefetcher(Iterator[T]):
    """Run an iterator in a background thread, at most `depth` parcels of items ahead.

    An exception in the iterator is raised here, with its traceback. `close` and garbage collection end the
    thread after the item it is at.

    Args:
        source: what to iterate; it is used by the thread alone.
        depth: how many parcels wait for the consumer at most.
        size: the cost of an item; a parcel holds one item, or more while their cost is small.

    >>> list(Prefetcher(iter(range(5)), depth=2, size=lambda item: 1))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, source: Iterator[T], *, depth: int, size: Callable[[T], int]) -> None:
        if depth < 1:
            raise InputError(f"prefetch is {depth}: it must be at least 1")
        self._shared: _Shared[T] = _Shared()
        for _ in range(depth):
            self._shared.room.put(None)
        self._ready: Iterator[T] = iter(())
        self._thread = threading.Thread(
            target=_produce, args=(source, size, self._shared), name="fastcollate-prefetch", daemon=True
        )
        self._thread.start()
        # At the interpreter's exit too: a thread killed inside a library's code would abort the process.
        weakref.finalize(self, _end, self._shared, self._thread, 1.0)

    def __next__(self) -> T:
        for item in self._ready:
            return item
        if self._shared.closed:
            raise StopIteration
        parcel = self._shared.parcels.get()
        if parcel is None:
            self.close()
            raise StopIteration
        if isinstance(parcel, BaseException):
            self.close()
            raise parcel
        self._shared.room.put(None)
        self._ready = iter(parcel)
        return next(self._ready)

    def close(self, timeout: float | None = None) -> None:
        """End the thread, once it is done with the item it is at; what it had ready is dropped."""
        self._ready = iter(())
        _end(self._shared, self._thread, timeout)
        with suppress(Empty):
            while True:
                self._shared.parcels.get_nowait()
        self._shared.parcels.put(None)  # for a consumer that waits in another thread


def _end(shared: _Shared[Any], thread: threading.Thread, timeout: float | None) -> None:
    shared.closed = True
    shared.room.put(None)
    if thread is not threading.current_thread():
        thread.join(timeout)


def _produce(source: Iterator[T], size: Callable[[T], int], shared: _Shared[T]) -> None:
    last: BaseException | None = None
    try:
        for parcel in _parcels(source, size, shared):
            shared.room.get()
            if shared.closed:
                break
            shared.parcels.put(parcel)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to the consumer
        last = error
    finally:
        try:
            if hasattr(source, "close"):
                source.close()
        finally:
            shared.parcels.put(last)


def _parcels(source: Iterator[T], size: Callable[[T], int], shared: _Shared[T]) -> Iterator[list[T]]:
    """Group items until they cost `_PARCEL`; the first parcels are small, so that the first item is soon there.

    What came before an exception is handed over before it.
    """
    parcel: list[T] = []
    cost, most = 0, 1
    try:
        for item in source:
            parcel.append(item)
            cost += max(size(item), _PARCEL // _ITEMS)
            if shared.closed:
                return
            if cost >= _PARCEL or len(parcel) >= most:
                yield parcel
                parcel, cost, most = [], 0, most * 2
    except GeneratorExit:
        raise
    except BaseException:
        if parcel:
            yield parcel
        raise
    if parcel:
        yield parcel
