"""Something far away as a seekable file: read in blocks, which grow and come ahead while it is read in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from io import RawIOBase
from typing import Any, NamedTuple

__all__ = ["BlockFile"]

_FIRST_BYTES = 1 << 18  # after a jump, which may be for a few bytes only
_MOST_BYTES = 1 << 23
_MOST_AT_ONCE = 1 << 25  # bytes that one call returns
_AHEAD = 2  # blocks, once it is known that reading goes on


class _Block(NamedTuple):
    start: int
    stop: int
    data: Future[memoryview]


class BlockFile(RawIOBase):
    """A file of known size, whose bytes are fetched by a function.

    It holds two blocks of 8 MiB more than a call of `read` asks for, of which it returns at most 32 MiB at once.

    Args:
        size: The number of bytes.
        fetch: The function that begins to fetch the bytes from a start to a stop.
        wait: The function that returns what was fetched, or raises what went wrong.

    >>> def fetch(start, stop):
    ...     block = Future()
    ...     block.set_result(memoryview(b"abcdef"[start:stop]))
    ...     return block
    >>> file = BlockFile(6, fetch, Future.result)
    >>> file.seek(-2, os.SEEK_END), file.read(9), file.read(1)
    (4, b'ef', b'')
    """

    def __init__(
        self,
        size: int,
        fetch: Callable[[int, int], Future[memoryview]],
        wait: Callable[[Future[memoryview]], memoryview],
    ) -> None:
        self._size, self._fetch, self._wait = size, fetch, wait
        self._at = 0
        self._blocks = deque[_Block]()
        self._step = _FIRST_BYTES

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another byte, and return its offset; nothing is fetched yet."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"a file has no byte {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, and return how many there were: none at the end only."""
        if self.closed:
            raise ValueError("the file is closed")
        out = memoryview(buffer).cast("B")
        stop = min(self._at + len(out), self._at + _MOST_AT_ONCE, self._size)
        begun = self._at
        if begun >= stop:
            return 0
        self._hold(stop)
        while self._at < stop:
            block = self._blocks[0]
            if block.stop <= self._at:
                self._blocks.popleft()
                continue
            data = self._fetched(block)
            some = data[self._at - block.start : stop - block.start]
            out[self._at - begun : self._at - begun + len(some)] = some
            self._at += len(some)
        return stop - begun

    def readall(self) -> bytes:
        """Return all bytes that are left."""
        out = memoryview(bytearray(max(self._size - self._at, 0)))
        at = 0
        while some := self.readinto(out[at:]):
            at += some
        return out.tobytes()

    def close(self) -> None:
        """Give up what is still being fetched."""
        self._drop()
        super().close()

    def _fetched(self, block: _Block) -> memoryview:
        try:
            return self._wait(block.data)
        except BaseException:  # the next reader tries again
            self._drop()
            raise

    def _hold(self, stop: int) -> None:
        """Begin to fetch what lies before `stop`, and somewhat more where the file is read in order."""
        while self._blocks and self._blocks[0].stop <= self._at and len(self._blocks) > 1:
            self._blocks.popleft()
        jumped = not self._blocks or not self._blocks[0].start <= self._at <= self._blocks[0].stop
        if jumped:
            self._drop()
            self._step = _FIRST_BYTES
            reached, ahead = self._at, 0
        else:
            reached = self._blocks[-1].stop
            ahead = 0 if len(self._blocks) == 1 and stop <= reached else _AHEAD
        while reached < stop or (reached < self._size and self._ahead_of(stop) < ahead):
            block_stop = min(reached + self._step, self._size)
            self._blocks.append(_Block(reached, block_stop, self._fetch(reached, block_stop)))
            reached = block_stop
            self._step = min(2 * self._step, _MOST_BYTES)

    def _ahead_of(self, stop: int) -> int:
        """How many blocks lie wholly after `stop`."""
        return sum(block.start >= stop for block in self._blocks)

    def _drop(self) -> None:
        for block in self._blocks:
            block.data.cancel()
        self._blocks.clear()
