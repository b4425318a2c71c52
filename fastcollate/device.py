"""Moving batches ahead of their consumer: a background thread, pinned memory and a side stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import torch

from fastcollate.errors import InputError

__all__ = ["DeviceCopier", "OnDevice", "Prefetcher", "prefetch_to_device"]

T = TypeVar("T")

# Waking a thread costs more than collating a small batch, so small batches are handed over several at a time:
# up to this many tensor elements.
_PARCEL = 1 << 18
_ITEMS = 64  # and never more items than this


@dataclass(slots=True)
class _Shared(Generic[T]):
    """What producer and consumer share; neither holds the other, so that dropping the consumer ends both."""

    parcels: SimpleQueue[list[T] | BaseException | None] = field(default_factory=SimpleQueue)
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    closed: bool = False


class Prefetcher(Iterator[T]):
    """Run an iterator in a background thread, at most `depth` parcels of items ahead.

    An exception in the iterator is raised here, with its traceback. `close`, garbage collection and leaving a
    `with` block end the thread after the item it is at.

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
            self._shared.room.release()
        self._ready: Iterator[T] = iter(())
        self.seconds_waited = 0.0
        self._thread = threading.Thread(
            target=_produce, args=(source, size, self._shared), name="fastcollate-prefetch", daemon=True
        )
        self._thread.start()

    def __next__(self) -> T:
        for item in self._ready:
            return item
        if self._shared.closed:
            raise StopIteration
        begun = time.perf_counter()
        parcel = self._shared.parcels.get()
        self.seconds_waited += time.perf_counter() - begun
        if parcel is None:
            self.close()
            raise StopIteration
        if isinstance(parcel, BaseException):
            self.close()
            raise parcel
        self._shared.room.release()
        self._ready = iter(parcel)
        return next(self._ready)

    def close(self) -> None:
        """End the thread; what it had ready is dropped."""
        self._shared.closed = True
        self._shared.room.release()
        self._ready = iter(())
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_shared"):
            self._shared.closed = True
            self._shared.room.release()


def _produce(source: Iterator[T], size: Callable[[T], int], shared: _Shared[T]) -> None:
    last: BaseException | None = None
    try:
        for parcel in _parcels(source, size, shared):
            shared.room.acquire()
            if shared.closed:
                break
            shared.parcels.put(parcel)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to the consumer
        last = error
    finally:
        if hasattr(source, "close"):
            source.close()
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


class OnDevice(NamedTuple):
    """A batch on its way to a device, and the event after which it is there (None: it is there now)."""

    item: Any
    event: torch.cuda.Event | None


class DeviceCopier:
    """Copies what a batch is made of (dicts, tuples, lists, tensors) to one device.

    On CUDA a copy goes from pinned memory over a stream of its own; `hand_over` makes the consumer's stream
    wait for it, never the host. Other devices are copied to in the ordinary way, the CPU not at all.

    Raises:
        InputError: a device that does not exist here.
    """

    def __init__(self, device: torch.device | str | int | None) -> None:
        self.device = check_device(device)
        self._stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def copy(self, item: Any) -> OnDevice:
        """`item` on the device, and the event after which it is really there (None: it is)."""
        if self.device.type == "cpu":
            return OnDevice(item, None)
        if self._stream is None:
            return OnDevice(_map_tensors(item, lambda tensor: tensor.to(self.device)), None)
        with torch.cuda.stream(self._stream):
            moved = _map_tensors(item, self._copy_pinned)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return OnDevice(moved, event)

    def hand_over(self, copied: OnDevice) -> Any:
        """Let the current stream use what `copy` returned."""
        if copied.event is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(copied.event)
            _map_tensors(copied.item, lambda tensor: _record(tensor, stream))
        return copied.item

    def _copy_pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(self.device, non_blocking=True)


def check_device(device: torch.device | str | int | None) -> torch.device:
    """The torch device of that name, if this machine has it; None is the CPU."""
    try:
        found = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError):
        raise InputError(f"device {device!r} is unknown to torch: name one such as 'cpu' or 'cuda:0'") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {str(found)!r} is not here: torch sees {torch.cuda.device_count()} CUDA device(s); "
            "use another, or device='cpu'"
        )
    try:
        torch.empty(0, device=found)
    except (RuntimeError, NotImplementedError, AssertionError):
        raise InputError(
            f"device {str(found)!r} is not here: torch cannot make a tensor there; use 'cpu'"
        ) from None
    return found


def _record(tensor: torch.Tensor, stream: torch.cuda.Stream) -> torch.Tensor:
    """Keep the allocator from giving the tensor's memory away before `stream` is done with it."""
    tensor.record_stream(stream)
    return tensor


def _map_tensors(item: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`item` with `function` applied to its tensors; a `Batch` keeps its attributes."""
    if isinstance(item, torch.Tensor):
        return function(item)
    if hasattr(item, "map_tensors"):
        return item.map_tensors(function)
    if isinstance(item, dict):
        return {key: _map_tensors(value, function) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_map_tensors(value, function) for value in item))
    if isinstance(item, (list, tuple)):
        return type(item)(_map_tensors(value, function) for value in item)
    return item


def count_elements(item: Any) -> int:
    """Tensor elements in a batch, as the cost of keeping it."""
    if isinstance(item, torch.Tensor):
        return item.numel()
    if isinstance(item, dict):
        return sum(map(count_elements, item.values()))
    if isinstance(item, (list, tuple)):
        return sum(map(count_elements, item))
    return 0


def prefetch_to_device(
    loader: Iterable[Any], device: torch.device | str | int, *, prefetch: int = 2
) -> Iterator[Any]:
    """Iterate any loader of dicts, tuples or tensors a few batches ahead, on `device`.

    Raises:
        InputError: a device that does not exist here, or `prefetch` below 1.

    >>> batches = [{"x": torch.tensor([1])}, {"x": torch.tensor([2])}]
    >>> [batch["x"].item() for batch in prefetch_to_device(batches, "cpu")]
    [1, 2]
    """
    copier = DeviceCopier(device)
    ahead = Prefetcher((copier.copy(item) for item in loader), depth=prefetch, size=count_elements)
    return _handed_over(copier, ahead)


def _handed_over(copier: DeviceCopier, ahead: Prefetcher[OnDevice]) -> Iterator[Any]:
    with ahead:
        for copied in ahead:
            yield copier.hand_over(copied)
