"""Hashing the files of a store while its records are read, so that opening it hashes nothing."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from fastcollate.errors import StoreCorruptError
from fastcollate.storage.local import MappedFile
from fastcollate.store.shards.entries import FileEntry
from fastcollate.store.shards.hashes import BLOCK_BYTES, block_checksums
from fastcollate.store.shards.mapped_arrays import MappedArrays

__all__ = ["BackgroundCheck", "Unverified", "check_shard"]

_SLICE = 4 << 20  # bytes hashed at once, some milliseconds in which the interpreter is free
_WHOLE: set[tuple[object, ...]] = set()  # which files had which hash in this process, however they were opened


class Unverified(NamedTuple):
    """A shard whose files may still differ from what was written, and the number of its first record."""

    arrays: MappedArrays
    first: int


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
                check_shard(shard, rest, lambda: self._closed)
                if self._closed:
                    return
        except Exception as error:  # noqa: BLE001  # told to whoever reads, in his own thread
            self._damage = error
        self._done = True


def _no_rest(_: float) -> None:
    """Go on at once."""


def check_shard(
    shard: Unverified,
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
    for number, entry in enumerate(arrays.entry.files):
        file = arrays.file(number)
        known = (*file.identity, entry.sha256)
        if known in _WHOLE:
            continue
        found = _hash(file, rest, is_closed)
        if found is None:
            return
        if found != entry.sha256:
            raise _changed(shard, entry)
        _WHOLE.add(known)
    arrays.is_whole = True


def _hash(file: MappedFile, rest: Callable[[float], object], is_closed: Callable[[], bool]) -> str | None:
    """Return the SHA-256 of a file, or None if that is no longer wanted."""
    digest, data = hashlib.sha256(), file.data.data
    for at in range(0, len(data), _SLICE):
        begun = time.perf_counter()
        digest.update(data[at : at + _SLICE])
        if is_closed():
            return None
        rest(time.perf_counter() - begun)
    return digest.hexdigest()


def _changed(shard: Unverified, file: FileEntry) -> StoreCorruptError:
    first, last = _records_changed(shard.arrays)
    return StoreCorruptError(
        f"{shard.arrays.kind.directory / file.name} has changed since it was written: its SHA-256 is not the "
        f"manifest's, and records {shard.first + first} to {shard.first + last} of the store may be wrong; "
        "restore the file or prepare the store again"
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
