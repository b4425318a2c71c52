"""The files of shards under other names: links to them where the file system has that, else copies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fastcollate.errors import StorageError, StoreCorruptError
from fastcollate.storage.local import copy, link, make_durable, storage_errors
from fastcollate.store.shards.entries import FileEntry, ShardEntry
from fastcollate.store.shards.hashes import changed, file_hash
from fastcollate.store.shards.mapped_arrays import MISSING, wrong_size

__all__ = ["bring_shards"]

_THREADS = 2  # that hash copies and wait for the disk, while the next file is copied
_AHEAD = 8  # copies that are not hashed yet: little enough to lie in memory still


def bring_shards(
    home: Path, entries: Sequence[ShardEntry], directory: Path, renamed: Sequence[ShardEntry]
) -> None:
    """Put the files of shards into another directory, too.

    Nobody writes into a file of a store, it can only be replaced: so one file may belong to several stores. Of a
    link the size is compared with the manifest's, of a copy all bytes are, by their hash.

    Args:
        home: The directory of the store that has the shards.
        entries: What the manifest of that store says of them.
        directory: The directory that gets them.
        renamed: What the manifest there will say of them.

    Raises:
        StoreCorruptError: A file is missing, or is not the one that the manifest says.
        StorageError: The disk failed.
    """
    pairs = [
        pair
        for entry in zip(entries, renamed, strict=True)
        for pair in zip(*(e.files for e in entry), strict=True)
    ]
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_THREADS) as beside:
        for file, named in pairs:
            source, target = home / file.name, directory / named.name
            if not link(source, target):
                _copy(source, target)
                waiting.append(beside.submit(_settle, source, target, file))
            _check_size(source, target, file)
            if len(waiting) > _AHEAD:
                waiting.popleft().result()
        for settled in waiting:
            settled.result()


def _copy(source: Path, target: Path) -> None:
    try:
        copy(source, target)
    except StorageError as error:
        if source.exists():
            raise
        raise StoreCorruptError(f"{source} {MISSING}") from error


def _check_size(source: Path, target: Path, file: FileEntry) -> None:
    with storage_errors(target):
        size = target.stat().st_size
    if size != file.bytes:
        raise StoreCorruptError(wrong_size(source, size, file.bytes))


def _settle(source: Path, copied: Path, file: FileEntry) -> None:
    """Hash a copy, and bring it to the disk."""
    if file_hash(copied) != file.sha256:
        raise StoreCorruptError(changed(source))
    make_durable(copied)
