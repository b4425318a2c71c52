"""What crosses between processes: a worker's assignment, its items, and the exception that ended them.

The bytes of arrays that lie in a slot stay where they are; those of others travel, and get memory of their own. No
worker has to outlive its items, and a small /dev/shm is no limit.
"""

from __future__ import annotations

import copyreg
import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.errors import WorkerError
from fastcollate.loader.slots import Place, SlotReader, Slots, SlotWriter

__all__ = ["Assignment", "Failure", "Message", "Work", "receive", "send"]

Work = Callable[..., Iterable[Any]]

_PARTS = 1024  # as many as one readv or writev takes
_TRAVELS, _ROW = -1, 5 * 8  # the slot of bytes that lie in none; the bytes of a `Place`


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told. An error in unpickling its work is raised where the work is called.

    Attributes:
        work: The function that returns the worker's items.
        number: The worker's number, the first argument of `work`.
        workers: The number of workers, the second argument of `work`.
        seed: The seed of all workers.
        slots: The memory for what the worker makes, if it shares any; what allocates there is the third argument.
        orders: What tells the worker to do its work again, the seed first and then further arguments; None if it
            is done once.
    """

    work: Work
    number: int
    workers: int
    seed: int
    slots: Slots | None = None
    orders: Connection | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            work = bytes(ForkingPickler.dumps(self.work))  # what is in shared memory stays there
        except Exception as error:
            raise WorkerError(
                f"the workers cannot be given their work: {error}; with this start method it must be picklable: "
                "define functions at the top of a module, or set num_workers=0"
            ) from error
        return _unpickle, (work, self.number, self.workers, self.seed, self.slots, self.orders)


def _unpickle(pickled: bytes, *rest: Any) -> Assignment:
    try:
        work = ForkingPickler.loads(pickled)
    except BaseException as error:  # noqa: BLE001  # here it would reach stderr only
        work = partial(_fail, error)
    return Assignment(work, *rest)


def _fail(error: BaseException, *_: Any) -> NoReturn:
    raise error


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception on its way to another process, where it may not exist.

    Attributes:
        summary: Its type and text, on one line.
        trace: Its traceback as text.
        pickled: The exception itself; empty where it cannot be pickled, or would end more than an iteration.
    """

    summary: str
    trace: str
    pickled: bytes

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception where it was caught.

        >>> Failure.of(ValueError("no")).summary
        'ValueError: no'
        """
        pickled = b""
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            with suppress(Exception):  # whatever an exception's own code raises
                stream = BytesIO()
                _Pickler(stream, None).dump(error)
                if type(ForkingPickler.loads(stream.getvalue())) is type(error):
                    pickled = stream.getvalue()
        summary = traceback.format_exception_only(error)[-1].strip()
        return cls(summary, "".join(traceback.format_exception(error)), pickled)

    def exception(self) -> Exception | None:
        """Return the exception, or None where it did not travel."""
        with suppress(Exception):
            error = ForkingPickler.loads(self.pickled)
            if isinstance(error, Exception):
                return error
        return None


@dataclass(frozen=True, slots=True)
class Message:
    """Some items in their order, and what comes after them.

    Attributes:
        items: The items.
        ended: Whether these were the last.
        failure: The exception that came then, or None.
    """

    items: Sequence[Any] = ()
    ended: bool = False
    failure: Failure | None = None


def send(pipe: int, message: Message, slots: SlotWriter | None = None) -> None:
    """Write a message to a file descriptor: how many places, the places, a pickle, what lies in no slot."""
    stream, aside = BytesIO(), list[Any]()
    _Pickler(stream, aside.append).dump(message)
    parts, places = list[memoryview](), list[Place]()
    for raw in (stream.getbuffer(), *(buffer.raw() for buffer in aside)):
        place = None if slots is None else slots.place_of(raw)
        if place is None:
            parts.append(raw)
            place = (_TRAVELS, 0, 0, 0, len(raw))
        places.append(place)
    head = np.array([(len(places), 0, 0, 0, 0), *places], np.int64)
    _move([head.data.cast("B"), *parts], lambda some: os.writev(pipe, some))
    if slots is not None:
        slots.sent([place for place in places if place[0] != _TRAVELS])


def receive(read: Callable[[list[memoryview]], int], slots: SlotReader | None = None) -> Message:
    """Return the message that `read` reads: it fills some of the buffers it is given, and returns how many bytes.

    Every array that travelled gets memory of its own: one that is kept does not keep a whole message.
    """
    (first,) = _read([_ROW], read)
    (rest,) = _read([_ROW * int(first.view(np.int64)[0])], read)
    places: list[Any] = rest.view(np.int64).reshape(-1, 5).tolist()
    pickled, *travelled = _read([place[-1] for place in places if place[0] == _TRAVELS], read)
    lying = [place for place in places if place[0] != _TRAVELS]
    if slots is None or not lying:
        aside: Iterable[Any] = travelled
    else:
        rows = {_TRAVELS: iter(travelled)}
        found = iter(slots.arrays(lying))
        aside = [next(rows.get(place[0], found)) for place in places[1:]]
        slots.received()
    message = ForkingPickler.loads(pickled.data, buffers=aside)
    assert isinstance(message, Message)
    return message


class _Pickler(ForkingPickler):
    """Pickles tensors as arrays, not as torch registered, and leaves the bytes of arrays to `aside`, if given."""

    def __init__(self, stream: BytesIO, aside: Callable[[Any], Any] | None) -> None:
        super().__init__(stream, 5, True, aside)
        self.dispatch_table = {**copyreg.dispatch_table, torch.Tensor: _reduce}


def _reduce(tensor: torch.Tensor) -> tuple[Any, ...]:
    if not tensor.requires_grad:
        with suppress(RuntimeError, TypeError):  # of a dtype that NumPy lacks, conjugate, ...
            return torch.from_numpy, (tensor.numpy(),)
        with suppress(RuntimeError, TypeError):  # sparse, on a device, ...
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
            return _rebuild, (data, tensor.dtype, tuple(tensor.shape))
    as_torch_does: Callable[[int], tuple[Any, ...]] = tensor.__reduce_ex__
    return as_torch_does(5)


def _rebuild(data: NDArray[np.uint8], dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(data).view(dtype).reshape(shape)


def _read(sizes: Iterable[int], read: Callable[[list[memoryview]], int]) -> list[NDArray[np.uint8]]:
    arrays = [np.empty(size, np.uint8) for size in sizes]
    _move([array.data for array in arrays if len(array)], read)
    return arrays


def _move(parts: list[memoryview], move: Callable[[list[memoryview]], int]) -> None:
    """Call a readv or writev until it has moved all bytes of all parts."""
    first = 0
    while first < len(parts):
        count = move(parts[first : first + _PARTS])
        while first < len(parts) and count >= len(parts[first]):
            count -= len(parts[first])
            first += 1
        if count:
            parts[first] = parts[first][count:]
