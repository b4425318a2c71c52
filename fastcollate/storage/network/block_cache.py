"""Blocks of far objects kept on a disk of this machine, for all its processes, within a number of bytes.

Blocks lie in files of 256, which grow as blocks come and go as a whole. Nothing that is read here is trusted: each
block is given with its checksum by whoever asks. So a process may be killed at any moment, a disk may be full, and
two jobs may share a directory: the worst is that a block is fetched once more.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from fastcollate.errors import StorageError
from fastcollate.storage.local import storage_errors

__all__ = ["BLOCK_BYTES", "FILE_BLOCKS", "BlockCache", "Blocks", "damaged", "runs_of"]

log = logging.getLogger("fastcollate")

BLOCK_BYTES = 16_384  # of token values behind one checksum
FILE_BLOCKS = 256  # blocks of one file
_DATA_BYTES = FILE_BLOCKS * BLOCK_BYTES
_HERE = b"\1"
_PAUSE = 0.004  # seconds between two looks at what another process fetches
_PATIENCE = 20.0  # seconds after which a process fetches for itself what another does not get
_FULL, _ROOM = 0.94, 0.88  # of the limit: where room is made, and what is left in use then
_SHARE = 1 / 128  # of the limit, that a process writes before it looks how much is there
_SET_LOCK = 37  # F_OFD_SETLK of Linux: a lock of ranges that belongs to what was opened, not to the process


class Blocks(NamedTuple):
    """Neighbouring blocks of one file of the cache.

    Attributes:
        content: What names the bytes that the blocks are of: equal names have equal bytes.
        first: The number of the first block.
        checksums: The CRC-32 of each block.
    """

    content: str
    first: int
    checksums: Sequence[int]


def damaged(data: memoryview, checksums: Sequence[int]) -> list[int]:
    """Return which blocks have another CRC-32 than they should.

    >>> damaged(memoryview(bytes(BLOCK_BYTES + 1)), [2874462854, 0])
    [1]
    """
    return [
        number
        for number, wanted in enumerate(checksums)
        if zlib.crc32(data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]) != wanted
    ]


class BlockCache:
    """A directory with blocks that were fetched, each of them by one process while the others wait.

    Args:
        directory: The directory; it is made.
        limit: The bytes to keep at most; None, the default, keeps all. More than eight processes that write
            may pass it by a few percent for a moment.

    Raises:
        StorageError: The directory cannot be made, or the system is one that keeps no blocks.
    """

    def __init__(self, directory: Path, limit: int | None = None) -> None:
        self._directory, self._limit = directory, limit
        self._unseen = limit or 0  # bytes that were written since it was seen how many there are
        self._told = False
        if not hasattr(os, "preadv"):
            raise StorageError(f"{directory}: blocks cannot be kept on this system: leave out cache_dir")
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def read(self, blocks: Blocks, out: memoryview, fetch: Callable[[int, int], memoryview]) -> None:
        """Fill `out` with blocks, all of which have their checksum: from the disk, else as they are fetched.

        Args:
            blocks: The blocks, all in one file of the cache: none lies behind a multiple of 256 that another lies
                before.
            out: Where their bytes go, as many as they have; the last block alone may be short.
            fetch: What returns the blocks from a first to before another one, counted from the first of `blocks`,
                and has checked them.

        Raises:
            StorageError: As `fetch` does; a disk that fails is not used.
        """
        try:
            descriptor = self._open(blocks)
        except OSError as error:
            self._tell(error)
            out[:] = fetch(0, len(blocks.checksums))
            return
        try:
            file = _File(descriptor, blocks, out)
            absent = runs_of(file.absent(range(len(blocks.checksums))))
            waiting = [run for run in absent if not self._try(file, run, fetch)]
            deadline = time.monotonic() + _PATIENCE
            for run in waiting:  # with no lock of its own in hand, so that nobody waits for whoever waits
                while not self._try(file, run, fetch, alone=time.monotonic() > deadline):
                    time.sleep(_PAUSE)
        finally:
            os.close(descriptor)

    def _try(
        self, file: _File, run: range, fetch: Callable[[int, int], memoryview], *, alone: bool = False
    ) -> bool:
        """Read or fetch a run of blocks, and return whether it was done: not while another process is at it."""
        with file.locked(run) as ours:
            if not ours and not alone:
                return False
            for part in runs_of(file.absent(run)):  # another may have brought some meanwhile
                data = fetch(part.start, part.stop)
                file.out[part.start * BLOCK_BYTES : part.stop * BLOCK_BYTES] = data
                try:
                    file.keep(part)
                    self._unseen += len(data)
                except OSError as error:
                    self._tell(error)
        if self._limit is not None and self._unseen > self._limit * _SHARE:
            with suppress(OSError):
                self._make_room(self._limit)
        return True

    def _open(self, blocks: Blocks) -> int:
        path = self._directory / f"{blocks.content}-{blocks.first // FILE_BLOCKS:06d}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        with suppress(OSError):
            os.utime(path)  # what is read stays longest
        return descriptor

    def _make_room(self, limit: int) -> None:
        """Delete the files that were not read for the longest time, where there are too many bytes."""
        self._unseen = 0
        files = []
        for entry in os.scandir(self._directory):
            with suppress(OSError):
                found = entry.stat()
                files.append((found.st_mtime_ns, _taken(found), entry.path))
        held = sum(size for _, size, _ in files)
        if held <= limit * _FULL:
            return
        for _, size, path in sorted(files):
            if held <= limit * _ROOM:
                break
            with suppress(OSError):  # another process makes room, too
                Path(path).unlink()
            held -= size

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            why = error.strerror or error
            log.warning(
                "%s: cannot be used as a cache (%s): what is read is fetched each time", self._directory, why
            )


class _File:
    """An open file of the cache: blocks at their places, and behind them a byte for each that is there."""

    def __init__(self, descriptor: int, blocks: Blocks, out: memoryview) -> None:
        self._descriptor, self._blocks, self.out = descriptor, blocks, out
        self._place = blocks.first % FILE_BLOCKS

    def absent(self, wanted: range) -> list[int]:
        """Read the blocks that are there, and return the others."""
        marks = os.pread(self._descriptor, len(wanted), _DATA_BYTES + self._place + wanted.start)
        there = [number for number, mark in zip(wanted, marks, strict=False) if mark == 1]
        good = set[int]()
        for run in runs_of(there):
            stop = min(run.stop * BLOCK_BYTES, len(self.out))
            part = self.out[run.start * BLOCK_BYTES : stop]
            with suppress(OSError):
                count = os.preadv(self._descriptor, [part], (self._place + run.start) * BLOCK_BYTES)
                if count == len(part):
                    bad = damaged(part, self._blocks.checksums[run.start : run.stop])
                    good |= set(run) - {run.start + number for number in bad}
        return [number for number in wanted if number not in good]

    def keep(self, run: range) -> None:
        """Write blocks, and then that they are there."""
        data = self.out[run.start * BLOCK_BYTES : run.stop * BLOCK_BYTES]
        _write(self._descriptor, data, (self._place + run.start) * BLOCK_BYTES)
        _write(self._descriptor, memoryview(_HERE * len(run)), _DATA_BYTES + self._place + run.start)

    @contextmanager
    def locked(self, run: range) -> Iterator[bool]:
        """Lend blocks to this process alone, if no other has them; without such locks nobody waits for another."""
        if sys.platform != "linux":
            yield True
            return
        import fcntl  # noqa: PLC0415  # not on Windows

        def set_lock(kind: int) -> None:
            place = struct.pack("hhqqi4x", kind, os.SEEK_SET, self._place + run.start, len(run), 0)
            fcntl.fcntl(self._descriptor, _SET_LOCK, place)

        try:
            set_lock(fcntl.F_WRLCK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                yield False
                return
        try:
            yield True
        finally:
            with suppress(OSError):
                set_lock(fcntl.F_UNLCK)


def runs_of(numbers: Sequence[int]) -> list[range]:
    """Return rising numbers as ranges.

    >>> runs_of([1, 2, 5])
    [range(1, 3), range(5, 6)]
    """
    groups = (list(group) for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]))
    return [range(group[0][1], group[-1][1] + 1) for group in groups]


def _write(descriptor: int, data: memoryview, at: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, at)
        data, at = data[count:], at + count


def _taken(found: os.stat_result) -> int:
    """Return the bytes of the disk that a file takes: of one that has few blocks yet, less than its size."""
    return int(found.st_blocks * 512) if hasattr(found, "st_blocks") else found.st_size
