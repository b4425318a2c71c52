"""The token ids of a store that is elsewhere: fetched in whole blocks, which are checked before they are given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StorageError, StoreChangedError, StoreCorruptError
from fastcollate.ragged import IntArray, Scattered, offsets_of
from fastcollate.storage.network.block_cache import BLOCK_BYTES, FILE_BLOCKS, BlockCache, Blocks, damaged
from fastcollate.storage.network.failures import MissingError, ReplacedError
from fastcollate.storage.network.kept_blocks import KeptBlocks
from fastcollate.storage.read_counts import ReadCounts
from fastcollate.storage.storage import Storage
from fastcollate.store.manifest import Manifest
from fastcollate.store.remote.copied_arrays import CopiedArrays

__all__ = ["TokenBlocks"]

_AT_ONCE = 32  # requests of a process
_GAP = 4  # blocks that nobody asked for, and that take less time to read than another request
_TRIES = 4  # of what comes, but is not what it should be
_PAUSES = 0.05, 2.0  # seconds before the second try, doubled before each further one, and the longest pause


class _Request(NamedTuple):
    """Blocks of one shard that are fetched at once, and where in the buffer of a call their bytes go."""

    home: int
    first: int
    stop: int
    out: memoryview


class TokenBlocks:
    """Read the token ids of shards in an object store, each block of 16 KiB against its checksum.

    What fails is tried again, with growing pauses, until the deadline of a call has passed.

    Args:
        storage: The prefix, whose objects keep their version.
        manifest: The store's manifest.
        arrays: The arrays of its shards.
        cache: Where blocks are kept.
        seconds: The deadline.
        check_current: Raises an error if it is another store that is there now.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: Manifest,
        arrays: Sequence[CopiedArrays],
        *,
        cache: BlockCache | KeptBlocks,
        seconds: float,
        check_current: Callable[[], None],
    ) -> None:
        self._storage, self._manifest, self._arrays = storage, manifest, arrays
        self._cache, self._seconds, self._current = cache, seconds, check_current
        self._dtype = np.dtype(manifest.dtype)

    def rows(self, homes: IntArray, starts: IntArray, lengths: IntArray, counts: ReadCounts) -> Scattered:
        """Return `lengths[i]` ids of shard `homes[i]` from its id `starts[i]` on; all are int64[R].

        Neighbours are fetched as one, up to 4 MiB at once, into one buffer that the rows are views of.

        Raises:
            StoreCorruptError: An object holds other bytes than were written.
            StoreChangedError: There is another store now, or an object was replaced.
            StorageError: The network or the server failed; the object and the range are named.
        """
        if not len(homes):
            return Scattered([np.empty(0, self._dtype)], self._dtype, None, starts, lengths)
        per_block = BLOCK_BYTES // self._dtype.itemsize
        firsts, stops = starts // per_block, -(-(starts + lengths) // per_block)
        order = np.lexsort((firsts, homes))
        home, first, stop = homes[order], firsts[order], stops[order]
        # rows (0, 2), (1, 2), (9, 10) in blocks of one shard, gap 4: runs (0, 2), (9, 10)
        begins = np.ones(len(order), bool)
        reached = _reached(home, stop)
        begins[1:] = (home[1:] != home[:-1]) | (first[1:] - reached[:-1] > _GAP)
        heads = np.flatnonzero(begins)
        tails = np.append(heads[1:], len(order)) - 1
        runs = home[heads], first[heads], reached[tails]
        edges = offsets_of(self._sizes(*runs))
        buffer = np.empty(int(edges[-1]), self._dtype)
        fetched = self._fill([column.tolist() for column in runs], buffer, edges)
        counts.bytes_read += fetched
        counts.cache_hits += max(0, buffer.nbytes - fetched)
        counts.bytes_used += int(lengths.sum()) * self._dtype.itemsize
        run = np.empty(len(order), np.int64)
        run[order] = np.cumsum(begins) - 1
        return Scattered([buffer], self._dtype, None, edges[run] + starts - runs[1][run] * per_block, lengths)

    def _sizes(self, homes: IntArray, firsts: IntArray, stops: IntArray) -> IntArray:
        """Return the ids that runs of blocks have: the last block of a shard may be short."""
        per_block = BLOCK_BYTES // self._dtype.itemsize
        counts = np.array([entry.tokens for entry in self._manifest.shards])[homes]
        sizes: IntArray = np.minimum(stops * per_block, counts) - firsts * per_block
        return sizes

    def _fill(self, runs: list[list[int]], buffer: NDArray[Any], edges: IntArray) -> int:
        """Fetch runs of blocks into a buffer, in requests that end where a file of the cache does.

        Returns:
            The bytes that came from afar.
        """
        out, width = buffer.view(np.uint8).data, self._dtype.itemsize
        requests = []
        for home, first, stop, begin, end in zip(*runs, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            cuts = [first, *range(first - first % FILE_BLOCKS + FILE_BLOCKS, stop, FILE_BLOCKS), stop]
            for cut, following in pairwise(cuts):
                at, to = (
                    begin * width + (cut - first) * BLOCK_BYTES,
                    begin * width + (following - first) * BLOCK_BYTES,
                )
                requests.append(_Request(home, cut, following, out[at : min(to, end * width)]))
        return sum(_together(self._answer, requests))

    def _answer(self, request: _Request) -> int:
        fetched = list[int]()
        fetch = partial(self._fetch, request, fetched)
        entry = self._manifest.shards[request.home]
        checksums = self._arrays[request.home].checksums[request.first : request.stop].tolist()
        file = entry.files[entry.places["input_ids"][0]]
        self._cache.read(Blocks(file.sha256, request.first, checksums), request.out, fetch)
        return sum(fetched)

    def _fetch(self, request: _Request, fetched: list[int], first: int, stop: int) -> memoryview:
        """Return blocks of a request, which have their checksums, in the time that a call has."""
        entry, base = self._manifest.shards[request.home], request.first
        number, at, _ = entry.places["input_ids"]
        begin = at + (base + first) * BLOCK_BYTES
        end = at + base * BLOCK_BYTES + min(stop * BLOCK_BYTES, len(request.out))
        checksums = self._arrays[request.home].checksums[base + first : base + stop].tolist()
        name, checksums_name = entry.files[number].name, entry.files[-1].name
        where = f"bytes {begin:,} to {end:,} were asked for"
        deadline, pause, wrong = time.monotonic() + self._seconds, _PAUSES[0], 0
        while True:
            try:
                [data] = self._storage.read_ranges(name, [(begin, end)])
            except ReplacedError as error:
                raise StoreChangedError(f"{error} ({where})") from error
            except StorageError as error:
                wrong += isinstance(error, MissingError)
                if time.monotonic() + pause > deadline or wrong == _TRIES:
                    self._check_current()
                    raise StorageError(f"{error} ({where})") from error
            else:
                fetched.append(len(data))
                if not damaged(data, checksums):
                    return data
                wrong += 1
                if wrong == _TRIES or time.monotonic() + pause > deadline:
                    self._check_current()
                    raise StoreCorruptError(
                        f"{self._storage.url}/{name} holds other tokens than were written, or they do not come "
                        f"as they lie there: their CRC-32 is not that of {checksums_name} ({where}); upload the "
                        "object again, or prepare the store again"
                    )
            time.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])

    def _check_current(self) -> None:
        """Raise if what cannot be read is another store by now."""
        with suppress(StorageError):
            self._current()


def _reached(homes: IntArray, stops: IntArray) -> IntArray:
    """Return the highest stop so far within each home, int64[R]; homes rise.

    >>> _reached(np.array([0, 0, 1]), np.array([9, 4, 2]))
    array([9, 9, 2])
    """
    high = homes * (int(stops.max()) + 1)
    reached: IntArray = np.maximum.accumulate(high + stops) - high
    return reached


def _together(call: Callable[[_Request], int], requests: Sequence[_Request]) -> list[int]:
    """Return what a call returns for each request, some at a time; the first that fails ends it."""
    if len(requests) <= 1:
        return [call(request) for request in requests]
    waiting = [_pool(os.getpid()).submit(call, request) for request in requests]
    try:
        return [each.result() for each in waiting]
    except BaseException:  # Ctrl-C too
        for each in waiting:
            each.cancel()
        wait(waiting)  # nobody writes into a buffer that nobody has
        raise


@lru_cache(1)
def _pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001  # whose threads a fork does not copy
    return ThreadPoolExecutor(_AT_ONCE, "fastcollate tokens")
