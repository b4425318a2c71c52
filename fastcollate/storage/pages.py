"""Pages of a file in memory, without a descriptor for each of them."""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache, partial

__all__ = ["Pages"]

_FAILED = ctypes.c_void_p(-1).value
_IN_PLACE = 3  # MREMAP_MAYMOVE | MREMAP_FIXED


class Pages:
    """The pages of a file, by the C library's own calls: Python's keep a descriptor for each map before 3.13.

    `np.asarray` makes an array of it, uint8[bytes], which keeps it alive.

    Args:
        descriptor: The file.
        size: How many bytes of it.
        at: Where the bytes begin, a multiple of the size of a page.
        shared: Whether another process sees what is written here; by default nothing can be written.

    Raises:
        OSError: The system does not let us map the file.
    """

    def __init__(self, descriptor: int, size: int, *, at: int = 0, shared: bool = False) -> None:
        libc = _libc()
        access, flags = mmap.PROT_READ, mmap.MAP_SHARED
        if shared:  # all pages at once, not as they are touched
            access, flags = access | mmap.PROT_WRITE, flags | getattr(mmap, "MAP_POPULATE", 0)
        address = libc.mmap(None, size, access, flags, descriptor, at)
        if address == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._unmap = partial(libc.munmap, address, size)
        self._address, self._size = address, size
        where = (address, not shared)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": where, "version": 3}

    def make_private(self) -> None:
        """Put a copy in the place of shared pages: whoever views them sees the same, and no other process does.

        Raises:
            OSError: There is no memory for it.
        """
        libc, size = _libc(), self._size
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        copied = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
        if copied != _FAILED:
            ctypes.memmove(copied, self._address, size)
            if libc.mremap(copied, size, size, _IN_PLACE, self._address) != _FAILED:  # at once, also for threads
                return
            libc.munmap(copied, size)
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

    def __del__(self) -> None:
        if hasattr(self, "_unmap"):
            self._unmap()


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    number, size = ctypes.c_int, ctypes.c_size_t
    libc.mmap.argtypes = [ctypes.c_void_p, size, number, number, number, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, size]
    if hasattr(libc, "mremap"):  # on Linux
        libc.mremap.argtypes = [ctypes.c_void_p, size, size, number, ctypes.c_void_p]
        libc.mremap.restype = ctypes.c_void_p
    return libc
