"""Pages of mapped files asked for many at a time, so that a disk has as much to do as it can."""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAGE", "advise_random", "ask_for", "bytes_read_here"]

PAGE = mmap.PAGESIZE
_PROCESS_MADVISE = 440  # the number of the call, on every architecture
_WILL_NEED, _RANDOM = 3, 1
_AT_ONCE = 1024  # stretches that the call takes
_OWN_IO = Path("/proc/thread-self/io")


def ask_for(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Have stretches of mapped memory read; nothing is waited for, and where the system cannot, nothing happens.

    Args:
        begins: The address of each stretch's first page, int64[M].
        ends: The address after its last one, int64[M].
    """
    pieces = np.ascontiguousarray(np.stack([begins, ends - begins], axis=1))
    libc = _libc()
    if libc is None:
        return
    done = 0
    with suppress(OSError, AttributeError):
        process = os.pidfd_open(os.getpid())
        try:
            while done < len(pieces):
                count = min(_AT_ONCE, len(pieces) - done)
                at = pieces[done:].ctypes.data
                if libc.syscall(_PROCESS_MADVISE, process, at, count, _WILL_NEED, 0) < 0:
                    break
                done += count
        finally:
            os.close(process)
    for begin, size in pieces[done:].tolist():  # an older system, or one that lets nobody call it
        libc.madvise(begin, size, _WILL_NEED)


def advise_random(address: int, size: int) -> None:
    """Say that memory is read in no order: else each page that is missing brings many of its neighbours along."""
    libc, first = _libc(), address // PAGE * PAGE
    if libc is not None:
        libc.madvise(first, address + size - first, _RANDOM)


def bytes_read_here() -> int | None:
    """Return the bytes that this thread has had read from disks so far; None where the system does not count."""
    with suppress(OSError, ValueError), _OWN_IO.open("rb") as file:
        for line in file:
            if line.startswith(b"read_bytes:"):
                return int(line.split()[1])
    return None


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        long, address = ctypes.c_long, ctypes.c_void_p
        libc.syscall.argtypes = [long, long, address, long, long, long]
        libc.syscall.restype = long
        libc.madvise.argtypes = [address, ctypes.c_size_t, ctypes.c_int]
    except (OSError, AttributeError, TypeError):  # no such calls
        return None
    return libc
