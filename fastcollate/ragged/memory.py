"""Memory for large arrays that is used again once nobody has a view of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["address_of", "new_array"]

_LEAST, _MOST = 1 << 16, 1 << 26  # bytes of an array whose memory is kept, and of all that is kept for the next


class _Use(weakref.ref[NDArray[Any]]):
    """An array, as long as it lives, and the block that it lies in."""

    __slots__ = ("block",)
    block: bytearray


class _Kept:
    """Blocks of memory that arrays lie in, or lay in.

    The system gives new memory out page by page and clears each, which takes longer than filling it; and the C
    library gives large blocks back as soon as they are free. An array counts as used while it, or anything that
    was made from it without a copy, such as a tensor, lives.
    """

    def __init__(self) -> None:
        self._used: dict[int, _Use] = {}
        self._returned = deque[bytearray]()  # by whoever let an array go, at any moment: nothing may wait there
        self._free: list[bytearray] = []  # the one that came back last is last
        self._lock = threading.Lock()

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> NDArray[Any]:
        """Return an array of this shape, with anything in it."""
        step = 1 << max(0, size.bit_length() - 4)
        room = -(-size // step) * step  # eight sizes from a power of two to the next, so that many arrays fit one
        block = self._find(room) or bytearray(room)
        array: NDArray[Any] = np.ndarray(shape, dtype, block)  # not of an array: its views would be that one's
        use = _Use(array, self._take_back)
        use.block = block
        self._used[id(use)] = use
        return array

    def _take_back(self, use: weakref.ref[NDArray[Any]]) -> None:
        block = self._used.pop(id(use)).block
        if len(self._returned) * len(block) < _MOST:  # until an array is asked for, as much again
            self._returned.append(block)

    def renew(self) -> None:
        """Have a lock that nobody holds, in a process that was forked."""
        self._lock = threading.Lock()

    def _find(self, room: int) -> bytearray | None:
        """A free block of this size or a little more; None where there is none, or another thread seeks one."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            free = self._free
            while self._returned:
                free.append(self._returned.popleft())
            kept = sum(map(len, free))
            while kept > _MOST:
                kept -= len(free.pop(0))
            for number in range(len(free) - 1, -1, -1):
                if room <= len(free[number]) <= 2 * room:
                    return free.pop(number)
            return None
        finally:
            self._lock.release()


_KEPT = _Kept()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_KEPT.renew)


def new_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array with anything in it; a large one lies in memory that earlier arrays have left.

    >>> new_array((2, 3), np.uint16).shape
    (2, 3)
    """
    kind = np.dtype(dtype)
    size = prod(shape, start=kind.itemsize)
    return np.empty(shape, kind) if size < _LEAST else _KEPT.array(shape, kind, size)


def address_of(array: NDArray[Any]) -> int:
    """Return where in memory an array begins; `array.ctypes.data` takes longer."""
    return int(array.__array_interface__["data"][0])
