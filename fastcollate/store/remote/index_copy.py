"""The index of a store in an object store, copied to this machine: all arrays of its shards but the tokens."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from fastcollate.errors import StoreCorruptError
from fastcollate.storage.local import locked, replacing, storage_errors
from fastcollate.storage.storage import Storage
from fastcollate.store.manifest import Manifest
from fastcollate.store.shards.entries import FileEntry, ShardEntry
from fastcollate.store.shards.shard_arrays import array_dtypes

__all__ = ["IndexCopy", "copy_directory"]

log = logging.getLogger("fastcollate")

_ALIGNED = 64  # bytes that an array begins at a multiple of
_AT_ONCE = 4  # shards, of each of which several ranges are fetched at once
_TRIES = 3  # of what comes with another hash than it was written with


def copy_directory(cache: Path, fingerprint: str) -> Path:
    """Return the directory in a cache that has the index of the store with a fingerprint.

    >>> copy_directory(Path("cache"), "5e" * 32).as_posix()[:18]
    'cache/indexes/5e5e'
    """
    return cache / "indexes" / fingerprint


class IndexCopy:
    """The files of this machine that have the index of a store: of each shard its arrays, and its checksums.

    A file appears whole, after its bytes had the hash that the manifest says. Of several processes one fetches,
    and the others wait.

    Args:
        storage: The prefix that the store is in.
        manifest: Its manifest.
        directory: The directory of the copy.

    Attributes:
        directory: The directory of the copy.
    """

    def __init__(self, storage: Storage, manifest: Manifest, directory: Path) -> None:
        self.directory = directory
        self._storage, self._shards = storage, manifest.shards
        self._dtypes = array_dtypes(manifest.dtype, manifest.columns)
        self._is_there = False

    def entry(self, number: int) -> ShardEntry:
        """Return what a manifest of the copy would say of a shard: no tokens, and arrays at other places."""
        entry, places, at = self._shards[number], dict[str, list[int]](), 0
        for name in self._names(entry):
            count = entry.places[name][2]
            places[name] = [0, at, count]
            at += -(-count * np.dtype(self._dtypes[name]).itemsize // _ALIGNED) * _ALIGNED
        index = FileEntry(f"shard-{number:05d}.index", at, entry.index_sha256)
        return replace(entry, places=places, files=[index, entry.files[-1]])

    def bring(self) -> None:
        """Fetch the files that are not there.

        Raises:
            StoreCorruptError: What came is not what was written.
            StorageError: The disk, the network or the server failed.
        """
        if self._is_there:
            return
        with storage_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        if self._missing():
            with locked(self.directory / "lock"):
                self._fetch_all(self._missing())
        self._is_there = True

    def _missing(self) -> list[int]:
        with storage_errors(self.directory):
            there = {path.name for path in self.directory.iterdir()}
        numbers = range(len(self._shards))
        return [n for n in numbers if not {file.name for file in self.entry(n).files} <= there]

    def _fetch_all(self, numbers: list[int]) -> None:
        if not numbers:
            return
        log.info("%s: fetching the index of %d shards to %s", self._storage.url, len(numbers), self.directory)
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            list(pool.map(self._fetch, numbers))
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch(self, number: int) -> None:
        entry, copy = self._shards[number], self.entry(number)
        checksums, whole = entry.files[-1], [(0, entry.files[-1].bytes)]
        blocks = self._checked(
            lambda: self._storage.read_ranges(checksums.name, whole), checksums.sha256, checksums.name
        )
        first = entry.files[entry.places["offsets"][0]].name
        arrays = self._checked(lambda: self._arrays(entry), entry.index_sha256, first)
        with replacing(self.directory / copy.files[1].name) as file:
            file.write(blocks[0])
        with replacing(self.directory / copy.files[0].name) as file:
            for (_, at, _), data in zip(copy.places.values(), arrays, strict=True):
                file.write(bytes(at - file.tell()))
                file.write(data)
            file.write(bytes(copy.files[0].bytes - file.tell()))

    def _checked(self, read: Callable[[], list[memoryview]], sha256: str, name: str) -> list[memoryview]:
        for _ in range(_TRIES):
            data, digest = read(), hashlib.sha256()
            for part in data:
                digest.update(part)
            if digest.hexdigest() == sha256:
                return data
        raise StoreCorruptError(
            f"{self._storage.url}/{name} is not the object that was written, or does not come as it lies there: "
            "its SHA-256 is not the manifest's; upload it again, or prepare the store again"
        )

    def _arrays(self, entry: ShardEntry) -> list[memoryview]:
        """Return the bytes of the arrays in their order; those of one file are fetched at once."""
        ranges = dict[int, dict[str, tuple[int, int]]]()
        for name in self._names(entry):
            file, at, count = entry.places[name]
            size = count * np.dtype(self._dtypes[name]).itemsize
            ranges.setdefault(file, {})[name] = at, at + size
        found = dict[str, memoryview]()
        for number, wanted in ranges.items():
            data = self._storage.read_ranges(entry.files[number].name, list(wanted.values()))
            found |= zip(wanted, data, strict=True)
        return [found[name] for name in self._names(entry)]

    def _names(self, entry: ShardEntry) -> list[str]:
        return [name for name in self._dtypes if name != "input_ids" and name in entry.places]
