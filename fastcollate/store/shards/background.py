"""Hashing the files of a corpus while its records are read, so that opening it hashes nothing."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StoreCorruptError
from fastcollate.ragged import address_of
from fastcollate.storage.asked_pages import ask_for
from fastcollate.storage.network.block_cache import BLOCK_BYTES
from fastcollate.store.shards.hashes import block_checksums
from fastcollate.store.shards.mapped_arrays import Hashed, MappedArrays

__all__ = ["BackgroundCheck", "Unverified", "UnverifiedShard", "check_shard", "hash_of"]

_SLICE = 1 << 20  # bytes hashed at once, in which the interpreter is free
_WHOLE: set[tuple[object, ...]] = set()  # which files had which hash in this process, however they were opened


def _no_rest(_: float) -> None:
    """Go on at once."""


class Unverified(Protocol):
    """Files that may still differ from what was written."""

    def check(self, rest: Callable[[float], object], is_closed: Callable[[], bool]) -> None:
        """Hash the files, and call `rest` after each slice with the seconds that it took.

        Raises:
            StoreCorruptError: A file differs; it is named.
            StorageError: A file cannot be read.
        """
        ...


class UnverifiedShard(NamedTuple):
    """A shard whose files may still differ from what was written, and the number of its first record."""

    arrays: MappedArrays
    first: int

    def check(self, rest: Callable[[float], object], is_closed: Callable[[], bool]) -> None:
        """Hash its files; see `check_shard`."""
        check_shard(self, rest, is_closed)


class BackgroundCheck:
    """A `BackgroundCheck` hashes the files of shards in a thread of its own, one after another.

    It rests as long as it works, until somebody waits for it. Files that had their hash once are not hashed again
    in the same process. Where there is no thread, as after a fork, `finish` does in the caller's what is left to
    do.

    Args:
        shards: The shards, in the order in which they are hashed.
    """

    def __init__(self, shards: Sequence[Unverified]) -> None:
        self._shards = shards
        self._damage: Exception | None = None
        self._done = self._closed = False
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._hurry.wait,), daemon=True)
        with suppress(RuntimeError):  # where the system has no thread left, `finish` does it all
            if shards:
                self._thread.start()

    def raise_if_damaged(self) -> None:
        """Tell what was found so far; nothing is waited for.

        Raises:
            StoreCorruptError: A file differs; it is named, and the records it holds.
            StorageError: A file cannot be read.
        """
        if self._damage is not None:
            raise self._damage

    def finish(self) -> None:
        """Wait until everything is hashed, which then takes no rests, and tell what was found.

        Raises:
            StoreCorruptError: A file differs; it is named, and the records it holds.
            StorageError: A file cannot be read.
        """
        if self._thread.is_alive():
            self._hurry.set()
            self._thread.join()
        if not self._done:
            self._run(_no_rest)
        self.raise_if_damaged()

    def close(self) -> None:
        """Leave the rest unhashed; nothing is waited for."""
        self._closed = True
        if self._thread.is_alive():
            self._hurry.set()

    def _run(self, rest: Callable[[float], object]) -> None:
        try:
            for shard in self._shards:
                shard.check(rest, lambda: self._closed)
                if self._closed:
                    return
        except Exception as error:  # noqa: BLE001  # told to whoever reads, in his own thread
            self._damage = error
        self._done = True


def check_shard(
    shard: UnverifiedShard,
    rest: Callable[[float], object] = _no_rest,
    is_closed: Callable[[], bool] = lambda: False,
) -> None:
    """Hash the files of a shard, those that are mapped as they are mapped.

    Args:
        shard: The shard.
        rest: What is called after each slice, with the seconds that it took.
        is_closed: Whether to leave the rest unhashed.

    Raises:
        StoreCorruptError: A file differs; it is named, and the records it holds.
        StorageError: A file cannot be read.
    """
    arrays = shard.arrays
    if arrays.is_whole:
        return
    for part in arrays.hashed():
        known = (*part.identity, part.sha256)
        if known in _WHOLE:
            continue
        found = hash_of(part.data, rest, partial(_is_useless, part, is_closed))
        if found is None:
            return
        if found != part.sha256:
            raise _changed(shard, part)
        _WHOLE.add(known)
    arrays.is_whole = True


def _is_useless(part: Hashed, is_closed: Callable[[], bool]) -> bool:
    """Whether nobody wants the hash, or the file was changed, which whoever reads of it is told."""
    return is_closed() or not part.is_as_mapped()


def hash_of(
    parts: Sequence[NDArray[np.uint8]],
    rest: Callable[[float], object],
    is_closed: Callable[[], bool],
    algorithm: str = "sha256",
) -> str | None:
    """Return the hash of bytes of a file, or None if that is no longer wanted.

    Args:
        parts: The bytes, uint8[bytes] one after another.
        rest: What is called after each slice, with the seconds that it took.
        is_closed: Whether to leave the rest unhashed.
        algorithm: The hash, one of `hashlib.algorithms_guaranteed`; SHA-256 by default.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for data in parts:
        first = address_of(data)
        for at in range(0, len(data), _SLICE):
            if is_closed():
                return None
            begun, end = time.perf_counter(), min(at + _SLICE, len(data))
            ask_for(np.array([first + at]), np.array([first + end]))  # else it gives page after page
            digest.update(data[at:end].data)
            rest(time.perf_counter() - begun)
    return None if is_closed() else digest.hexdigest()


def _changed(shard: UnverifiedShard, part: Hashed) -> StoreCorruptError:
    arrays = shard.arrays
    first, last = _records_changed(arrays) if "input_ids" in arrays else (0, arrays.entry.records - 1)
    return StoreCorruptError(
        f"{part.path} has changed since it was written: its SHA-256 is not the manifest's, and records "
        f"{shard.first + first} to {shard.first + last} of the store may be wrong; {part.fix}"
    )


def _records_changed(arrays: MappedArrays) -> tuple[int, int]:
    """Return the first and the last record of a shard that may have changed.

    The checksums of blocks tell where tokens changed. If all of these agree something else did, which may be of
    any record.
    """
    tokens, offsets = arrays["input_ids"], arrays["offsets"]
    sums = block_checksums(tokens)
    written = arrays.file(len(arrays.entry.files) - 1).data[-sums.nbytes :].copy().view(np.uint32)
    changed = np.flatnonzero(sums != written) if len(written) == len(sums) else np.arange(0)
    if not len(changed):
        return 0, len(offsets) - 2
    per_block = BLOCK_BYTES // tokens.itemsize
    ends = np.array([changed[0] * per_block, (changed[-1] + 1) * per_block - 1])
    first, last = np.clip(np.searchsorted(offsets, ends, "right") - 1, 0, len(offsets) - 2).tolist()
    return first, last
