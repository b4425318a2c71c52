"""Memory that a worker process fills and the main process reads, so that items are handed over without a copy.

A worker's memory is one anonymous file, of which no small /dev/shm is the limit. Its first page says which slots
are in use; the slots come behind it, one for the arrays of an item. The worker takes a slot, and the main process
gives it back when nothing lives any more that views it: an item that is kept keeps its slot.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from multiprocessing.connection import Connection
from multiprocessing.util import register_after_fork
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.staged import Wanted
from fastcollate.ragged import address_of
from fastcollate.storage.pages import Pages

__all__ = ["Place", "SlotReader", "SlotWriter", "Slots", "can_share", "new_slots"]

_MOST = mmap.ALLOCATIONGRANULARITY  # slots, as many as the first page has bytes
_AHEAD = 3  # items that are made before the first of them is received
_ALIGNED = 64  # bytes
_CLOSED = -1  # instead of a descriptor

Place = tuple[
    int, int, int, int, int
]  # the slot, where it begins in the file, its size, and a part: begin and size


def can_share() -> bool:
    """Return whether this system has anonymous files that two processes can map."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and hasattr(os, "posix_fallocate")


@dataclass(frozen=True, slots=True)
class Slots:
    """A worker's memory on its way to the worker.

    Attributes:
        file: The descriptor of the file.
        received: The pipe that says, a byte for each, which items were received.
    """

    file: int
    received: Connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close this process's copy of the descriptor, once the worker has its own."""
        os.close(self.file)

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd  # noqa: PLC0415  # not on Windows

        return _arrived, (DupFd(self.file), self.received)


def _arrived(file: Any, received: Connection) -> Slots:
    return Slots(file.detach(), received)


class SlotWriter:
    """The worker's side of its slots."""

    def __init__(self, slots: Slots) -> None:
        self._file, self._received = slots.file, slots.received
        self._in_use = mmap.mmap(self._file, _MOST)
        self._slots: list[tuple[int, NDArray[np.uint8]]] = []  # where each begins in the file, and its bytes
        self._taken = list[int]()  # for the item that is being made
        self._ahead = 0

    def begin(self) -> bool:
        """Wait until an item may be made; False if the main process wants no more."""
        if self._ahead == _AHEAD:
            if not os.read(self._received.fileno(), 1):
                return False
            self._ahead -= 1
        return True

    def allocate(self, wanted: Wanted) -> dict[str, NDArray[Any]]:
        """Return arrays in a slot; see `Allocator`. They are ordinary ones where there is no slot to be had."""
        kinds = {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in wanted.items()}
        sizes = [prod(shape, start=dtype.itemsize) for shape, dtype in kinds.values()]
        rooms = [-(-size // _ALIGNED) * _ALIGNED for size in sizes]
        block = self._take(sum(rooms))
        if block is None:
            return {name: np.empty(shape, dtype) for name, (shape, dtype) in kinds.items()}
        begins = np.cumsum([0, *rooms]).tolist()
        return {
            name: np.ndarray(shape, dtype, block, begin)
            for (name, (shape, dtype)), begin in zip(kinds.items(), begins, strict=False)
        }

    def place_of(self, raw: memoryview) -> Place | None:
        """Return where bytes lie, if that is in a slot of the item that is being made."""
        address = address_of(np.frombuffer(raw, np.uint8))
        for number in self._taken:
            begin, block = self._slots[number]
            before = address - address_of(block)
            if before >= 0 and before + len(raw) <= len(block):
                return number, begin, len(block), before, len(raw)
        return None

    def sent(self, places: Sequence[Place]) -> None:
        """Say what of the slots travelled with the item that was made: the others are free."""
        used = {place[0] for place in places}
        for number in self._taken:
            if number not in used:
                self._in_use[number] = 0
        self._taken.clear()
        self._ahead += bool(used)

    def _take(self, size: int) -> NDArray[np.uint8] | None:
        fitting = [
            (len(block), number)
            for number, (_, block) in enumerate(self._slots)
            if not self._in_use[number] and len(block) >= size
        ]
        number = min(fitting)[1] if fitting else self._new(size)
        if number is None:
            return None
        self._in_use[number] = 1
        self._taken.append(number)
        return self._slots[number][1]

    def _new(self, size: int) -> int | None:
        """Another slot, with a little more room than asked for, since items differ; None if there is no memory."""
        page, number = mmap.ALLOCATIONGRANULARITY, len(self._slots)
        room = -(-(size + size // 8 + 1) // page) * page
        begin = os.fstat(self._file).st_size
        if number == _MOST:
            return None
        try:
            os.posix_fallocate(self._file, begin, room)  # missing memory is told here, not by a signal
            block = np.asarray(Pages(self._file, room, at=begin, shared=True))
        except OSError:
            return None
        self._slots.append((begin, block))
        return number


class _Lent(weakref.ref[NDArray[Any]]):
    """The bytes of a slot, as long as anything lives that views them."""

    __slots__ = ("number",)
    number: int


class SlotReader:
    """The main process's side of a worker's slots.

    Before this process is forked, slots that are in use here become memory of its own, which the fork copies as it
    copies all else: neither process sees what the other writes, and the worker has its slots back.

    Args:
        file: The descriptor of the file.
        received: The end of the pipe that the worker reads from, open here too: a write never meets a closed pipe.
        tell: The other end.
    """

    def __init__(self, file: int, received: Connection, tell: Connection) -> None:
        self._file, self._pipe = file, (received, tell)
        self._in_use = mmap.mmap(file, _MOST)
        self._mapped: dict[int, Pages] = {}
        self._lent: dict[int, _Lent] = {}
        register_after_fork(self, SlotReader.abandon)  # or a worker would keep the memory of other pools
        _READERS.add(self)

    def arrays(self, places: Sequence[Place]) -> list[NDArray[np.uint8]]:
        """Return parts of slots that came with one item; they live until the last view of their slot is gone."""
        lent, found = dict[int, NDArray[np.uint8]](), list[NDArray[np.uint8]]()
        for number, at, size, begin, count in places:
            if number not in lent:
                lent[number] = self._lend(number, at, size)
            found.append(lent[number][begin : begin + count])
        return found

    def received(self) -> None:
        """Tell the worker that an item with slots was received."""
        os.write(self._pipe[1].fileno(), b"\0")

    def close(self) -> None:
        """Let the worker end; items live on."""
        for end in self._pipe:
            end.close()
        self._close_file()

    def abandon(self) -> None:
        """Let go of everything, in a process that was forked and is no reader."""
        self._pipe[1].close()
        self._lent.clear()
        self._mapped.clear()
        self._in_use.close()
        self._close_file()

    def _close_file(self) -> None:
        """Close the descriptor once: later its number may be another file's."""
        file, self._file = self._file, _CLOSED
        if file != _CLOSED:
            os.close(file)

    def make_private(self) -> None:
        """Give all slots back: what is in use becomes memory of this process. A slot for which none is stays."""
        for number in list(self._lent):
            reference = self._lent.pop(number, None)
            pages = self._mapped.get(number)
            if reference is None or pages is None:
                continue
            with suppress(OSError):
                pages.make_private()
                del self._mapped[number]
                self._in_use[number] = 0

    def _lend(self, number: int, at: int, size: int) -> NDArray[np.uint8]:
        if number not in self._mapped:
            self._mapped[number] = Pages(self._file, size, at=at, shared=True)
        array = np.asarray(self._mapped[number])
        reference = _Lent(array, self._give_back)
        reference.number = number
        self._lent[number] = reference
        return array

    def _give_back(self, reference: weakref.ref[NDArray[Any]]) -> None:
        assert isinstance(reference, _Lent)
        self._in_use[reference.number] = 0
        self._lent.pop(reference.number, None)


def new_slots(connect: Any) -> tuple[Slots, SlotReader]:
    """Return both ends of a new worker's memory; `connect` makes a pipe."""
    file = os.memfd_create("fastcollate")
    os.ftruncate(file, _MOST)
    received, tell = connect(duplex=False)
    return Slots(file, received), SlotReader(os.dup(file), received, tell)


_READERS = weakref.WeakSet[SlotReader]()


def _before_fork() -> None:
    for reader in list(_READERS):
        reader.make_private()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
