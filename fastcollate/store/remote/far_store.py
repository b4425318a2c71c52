"""A store in an object store: its manifest, found there or in a copy, and what its parts are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

from fastcollate.errors import StoreCorruptError
from fastcollate.storage.local import default_cache, locked, replacing, storage_errors
from fastcollate.storage.network.block_cache import BlockCache
from fastcollate.storage.network.kept_blocks import kept_blocks
from fastcollate.storage.network.settings import read_settings
from fastcollate.storage.storage import Storage, open_storage
from fastcollate.store.manifest import MANIFEST, Manifest
from fastcollate.store.remote.copied_arrays import CopiedArrays
from fastcollate.store.remote.index_copy import IndexCopy, copy_directory
from fastcollate.store.remote.token_blocks import TokenBlocks
from fastcollate.store.shards.hashes import changed
from fastcollate.store.shards.mapped_arrays import MISSING, ShardKind, wrong_size
from fastcollate.store.verify import manifest_of_prefix

__all__ = ["FarStore"]

_PART_BYTES = 1 << 23


class FarStore(NamedTuple):
    """The parts of a store that is elsewhere.

    Attributes:
        storage: The prefix, whose objects keep their version.
        manifest: The manifest.
        copy: The copy of the index on this machine.
        cache: Where blocks of token ids are kept; None keeps those read last in the memory of each process.
        options: Settings of the object store.
    """

    storage: Storage
    manifest: Manifest
    copy: IndexCopy
    cache: BlockCache | None
    options: Mapping[str, Any] | None

    @classmethod
    def open(
        cls,
        url: str,
        fingerprint: str | None,
        cache_dir: str | None,
        cache_bytes: int | None,
        storage_options: Mapping[str, Any] | None,
        *,
        check_sizes: bool,
    ) -> Self:
        """Find the manifest of a store; that of a known fingerprint may have been kept on this machine.

        Args:
            url: The URL of the prefix.
            fingerprint: The fingerprint that the store must have; None will have any.
            cache_dir: The directory for what is kept; None keeps the index in the user's own, no tokens on a disk.
            cache_bytes: The bytes of token ids kept there at most; None keeps all.
            storage_options: Settings of the object store.
            check_sizes: Whether every object must be there with its size: the listing comes beside the manifest.

        Raises:
            StoreError: There is no such store.
            StoreCorruptError: An object is missing or has another size.
            StorageError: The disk, the network or the server failed.
        """
        storage = open_storage(url, storage_options, one_version=True)
        cache = Path(cache_dir) if cache_dir is not None else default_cache()
        beside = ThreadPoolExecutor(1)
        there = beside.submit(storage.sizes) if check_sizes else None
        beside.shutdown(wait=False)
        manifest = _kept(cache, fingerprint) if fingerprint is not None else None
        if manifest is None:
            manifest = manifest_of_prefix(storage, fingerprint)
            _keep(cache, manifest)
        if there is not None:
            _check_sizes(storage, there.result(), manifest)
        copy = IndexCopy(storage, manifest, copy_directory(cache, manifest.fingerprint))
        blocks = BlockCache(cache / "blocks", cache_bytes) if cache_dir is not None else None
        return cls(storage, manifest, copy, blocks, storage_options)

    def check_hashes(self) -> None:
        """Every object has its SHA-256; all are fetched for it.

        Raises:
            StoreCorruptError: One has another.
            StorageError: The network or the server failed.
        """
        for file in (file for entry in self.manifest.shards for file in entry.files):
            digest = hashlib.sha256()
            with self.storage.open(file.name) as data:
                while part := data.read(_PART_BYTES):
                    digest.update(part)
            if digest.hexdigest() != file.sha256:
                raise StoreCorruptError(changed(f"{self.storage.url}/{file.name}"))

    def check_current(self) -> None:
        """The store is still there, or its manifest is, after records were appended.

        Raises:
            StoreChangedError: There is another store.
            StoreError: There is none.
            StorageError: The network or the server failed.
        """
        manifest_of_prefix(open_storage(self.storage.url, self.options), self.manifest.fingerprint)

    def arrays(self, kind: ShardKind) -> list[CopiedArrays]:
        """Return the arrays of each shard, none of which is there yet."""
        return [CopiedArrays(kind, self.copy, number) for number in range(len(self.manifest.shards))]

    def tokens(self, arrays: Sequence[CopiedArrays]) -> TokenBlocks:
        """Return what reads the token ids of the shards that have these arrays."""
        return TokenBlocks(
            self.storage,
            self.manifest,
            arrays,
            cache=kept_blocks() if self.cache is None else self.cache,
            seconds=read_settings(self.storage.url, self.options).seconds,
            check_current=self.check_current,
        )


def _check_sizes(storage: Storage, there: Mapping[str, int], manifest: Manifest) -> None:
    """Every object is there and has its size; `there` may have been listed before a writer finished."""
    files = [file for entry in manifest.shards for file in entry.files]
    if any(there.get(file.name) != file.bytes for file in files):
        there = storage.sizes()
    for file in files:
        where = f"{storage.url}/{file.name}"
        if file.name not in there:
            raise StoreCorruptError(f"{where} {MISSING}")
        if there[file.name] != file.bytes:
            raise StoreCorruptError(wrong_size(where, there[file.name], file.bytes))


def _kept(cache: Path, fingerprint: str) -> Manifest | None:
    """Return the manifest with a fingerprint, if it was kept whole."""
    path = copy_directory(cache, fingerprint) / MANIFEST
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return Manifest.from_bytes(data, str(path)) if hashlib.sha256(data).hexdigest() == fingerprint else None


def _keep(cache: Path, manifest: Manifest) -> None:
    """Keep a manifest; one that is there already, whole or not, was checked before."""
    directory = copy_directory(cache, manifest.fingerprint)
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if _kept(cache, manifest.fingerprint) is None:
        with locked(directory / "lock"), replacing(directory / MANIFEST) as file:
            file.write(manifest.as_bytes)
