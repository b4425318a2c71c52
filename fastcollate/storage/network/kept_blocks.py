"""Blocks of far objects kept in the memory of this process: those that were fetched last, each once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from fastcollate.storage.memory_room import memory_room
from fastcollate.storage.network.block_cache import BLOCK_BYTES, Blocks, runs_of

__all__ = ["KeptBlocks", "kept_blocks"]

_MOST = 256 << 20  # bytes: the tokens of a window or two of usual records

_Name = tuple[str, int]


class KeptBlocks:
    """`KeptBlocks` are those that were read last, for all threads: while one fetches a block, the others wait.

    Batches are sorted by length, so that each part of a window asks for nearly all blocks that the window lies in.

    Args:
        limit: The bytes to keep at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._kept = OrderedDict[_Name, bytes]()
        self._coming = set[_Name]()
        self._changed = threading.Condition()
        self._process = os.getpid()

    def read(self, blocks: Blocks, out: memoryview, fetch: Callable[[int, int], memoryview]) -> None:
        """Fill `out` with blocks; see `BlockCache.read`.

        Raises:
            StorageError: As `fetch` does.
        """
        left: Sequence[int] = range(len(blocks.checksums))
        if os.getpid() != self._process:  # a fork does not copy threads, one of which may have held the lock
            out[:] = fetch(0, len(left))
            return
        while left:
            absent, coming = list[int](), list[int]()
            try:
                self._claim(blocks, left, out, absent, coming)
                for run in runs_of(absent):
                    self._keep(blocks, run, fetch(run.start, run.stop), out)
            finally:
                with self._changed:
                    self._coming -= _names(blocks, absent)
                    self._changed.notify_all()
            with self._changed:  # with no block of its own to come, so that nobody waits for whoever waits
                self._changed.wait_for(partial(self._coming.isdisjoint, _names(blocks, coming)))
            left = coming

    def _claim(
        self, blocks: Blocks, wanted: Sequence[int], out: memoryview, absent: list[int], coming: list[int]
    ) -> None:
        """Copy what is there; list what the caller is to fetch, and has claimed, and what others are fetching."""
        there = list[tuple[int, bytes]]()
        with self._changed:
            for number in wanted:
                name = blocks.content, blocks.first + number
                if (data := self._kept.get(name)) is not None:
                    self._kept.move_to_end(name)
                    there.append((number, data))
                elif name in self._coming:
                    coming.append(number)
                else:
                    absent.append(number)
                    self._coming.add(name)
        for number, data in there:
            out[number * BLOCK_BYTES : number * BLOCK_BYTES + len(data)] = data

    def _keep(self, blocks: Blocks, run: range, data: memoryview, out: memoryview) -> None:
        out[run.start * BLOCK_BYTES : run.start * BLOCK_BYTES + len(data)] = data
        with self._changed:
            for place, number in enumerate(run):
                kept = bytes(data[place * BLOCK_BYTES : (place + 1) * BLOCK_BYTES])
                self._kept[blocks.content, blocks.first + number] = kept
                self._held += len(kept)
            while self._held > self._limit:
                self._held -= len(self._kept.popitem(last=False)[1])


def _names(blocks: Blocks, numbers: Sequence[int]) -> set[_Name]:
    return {(blocks.content, blocks.first + number) for number in numbers}


@lru_cache(1)
def kept_blocks() -> KeptBlocks:
    """Return what all stores of this process share, of 256 MiB at most, or a quarter of the memory there is."""
    room = memory_room()
    return KeptBlocks(_MOST if room is None else min(_MOST, room // 4))
