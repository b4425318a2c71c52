"""Opening a store: its manifest, its shards mapped or at hand from afar, and as much checked as was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.arguments import check_count
from fastcollate.errors import InputError, StoreError
from fastcollate.ragged import Bound, offsets_of
from fastcollate.storage.storage import is_object_url
from fastcollate.store.manifest import Manifest
from fastcollate.store.remote.far_store import FarStore
from fastcollate.store.shards.background import UnverifiedShard, check_shard
from fastcollate.store.shards.dictionaries import Dictionaries
from fastcollate.store.shards.mapped_arrays import MappedArrays, ShardKind
from fastcollate.store.shards.shard import Shard
from fastcollate.store.shards.shard_arrays import array_dtypes
from fastcollate.store.shards.sharded import FarTokens
from fastcollate.store.verify import check_files, check_hashes, read_manifest

__all__ = ["Opened", "Options", "Verify", "check_all", "check_cache", "open_store", "place_of"]

_LEAST_BYTES = 1 << 24  # of a cache: some files of it

Verify = Literal["none", "index", "full"]


class Options(NamedTuple):
    """How a store is opened.

    Attributes:
        verify: How much is checked.
        fingerprint: The fingerprint that it must have, or had before records were appended, and is then opened as
            it was; None will have any.
        cache_dir: The directory that keeps what is fetched from an object store; None: the index in the user's.
        cache_bytes: The bytes of token ids kept there at most; None keeps all.
        storage_options: Settings of the object store.
    """

    verify: Verify = "index"
    fingerprint: str | None = None
    cache_dir: str | None = None
    cache_bytes: int | None = None
    storage_options: Mapping[str, Any] | None = None


class Opened(NamedTuple):
    """The manifest of a whole store, its shards, and the strings that the codes of columns stand for.

    `far` reads the token ids where they are not on this machine.
    """

    manifest: Manifest
    shards: list[Shard]
    dictionaries: Dictionaries
    far: FarTokens | None = None

    def groups(self) -> list[NDArray[Any]]:
        """Return the group that each record has in its shard, shard by shard."""
        return [shard.beside("group").values for shard in self.shards]

    def bound(self, path: str, verify: Verify) -> Bound | None:
        """Return what token ids are checked against; None if nobody wants it, or the dtype holds no others."""
        size = self.manifest.encoding.n_vocab
        is_whole = size == 1 << 8 * np.dtype(self.manifest.dtype).itemsize
        return None if is_whole or verify == "none" else Bound(size, path)


def open_store(path: Path | str, options: Options) -> Opened:
    """Open the store at `path`, a directory or the URL of a prefix.

    Raises:
        StoreError: The store cannot be used.
        StorageError: The disk or the object store failed.
    """
    if isinstance(path, str):
        return _open_far(path, options)
    manifest = read_manifest(path, options.fingerprint)
    if options.verify != "none":
        check_files(path, manifest)
    kind = _kind(path, manifest)
    opened = _of_arrays(manifest, [MappedArrays(kind, entry) for entry in manifest.shards])
    _check(opened, options.verify)
    return opened


def check_all(path: Path | str, options: Options) -> None:
    """Hash every byte of every file, and compare the hashes with the manifest's.

    Raises:
        StoreCorruptError: A file differs; the first that does is named.
        StorageError: The disk or the object store failed.
    """
    if isinstance(path, str):
        _far(path, options, check_sizes=True).check_hashes()
    else:
        manifest = read_manifest(path, options.fingerprint)
        check_files(path, manifest)
        check_hashes(path, manifest)


def place_of(path: Path | str) -> Path | str:
    """Return a directory as a path, and a URL as the text it is.

    Raises:
        StoreError: The URL is of a kind that no store can be in.
    """
    if is_object_url(path):
        return str(path).rstrip("/")
    if "://" in str(path):
        raise StoreError(f"{path}: stores are in directories, or at s3://, gs:// or az://: copy it to one of them")
    return Path(path)


def check_cache(
    place: Path | str, cache_dir: str | Path | None, cache_bytes: int | None
) -> tuple[str | None, int | None]:
    """Return the arguments of a cache, checked.

    Raises:
        InputError: One is no value of its kind, or is given for what lies on this machine.
    """
    given = {"cache_dir": cache_dir, "cache_bytes": cache_bytes}
    for name, value in given.items():
        if value is not None and isinstance(place, Path):
            raise InputError(f"{name} is {value!r} for {place}, which is on this machine: leave {name} out")
    if cache_bytes is not None:
        check_count("cache_bytes", cache_bytes, _LEAST_BYTES)
        if cache_dir is None:
            raise InputError(
                f"cache_bytes is {cache_bytes} without a cache_dir: name the directory to keep them in"
            )
    if cache_dir is not None and not isinstance(cache_dir, str | Path):
        raise InputError(f"cache_dir is a {type(cache_dir).__name__}: give the path of a directory")
    return None if cache_dir is None else str(cache_dir), cache_bytes


def _far(url: str, options: Options, *, check_sizes: bool) -> FarStore:
    caching = options.cache_dir, options.cache_bytes
    return FarStore.open(url, options.fingerprint, *caching, options.storage_options, check_sizes=check_sizes)


def _open_far(url: str, options: Options) -> Opened:
    far = _far(url, options, check_sizes=options.verify != "none")
    arrays = far.arrays(_kind(far.copy.directory, far.manifest))
    opened = _of_arrays(far.manifest, arrays)._replace(far=far.tokens(arrays))
    if options.verify == "full":
        far.check_hashes()
    _check(opened, options.verify)
    return opened


def _kind(directory: Path, manifest: Manifest) -> ShardKind:
    dtypes, lengths = array_dtypes(manifest.dtype, manifest.columns), manifest.lengths
    return ShardKind(directory, dtypes, manifest.columns, lengths[0][0], lengths[-1][0])


def _of_arrays(manifest: Manifest, arrays: Sequence[MappedArrays]) -> Opened:
    """Return a store of shards none of which is mapped yet."""
    dictionaries = Dictionaries([each.words for each in arrays])
    shards = [Shard(each, partial(dictionaries.table, shard=number)) for number, each in enumerate(arrays)]
    return Opened(manifest, shards, dictionaries)


def _check(opened: Opened, verify: Verify) -> None:
    """Hash what is on this machine now, or leave that for the first epoch, or to nobody."""
    firsts = offsets_of([shard.records for shard in opened.shards]).tolist()
    for shard, first in zip(opened.shards, firsts, strict=False):
        if verify == "full":
            check_shard(UnverifiedShard(shard.arrays, first))
        shard.arrays.is_whole, shard.arrays.is_trusted = verify != "index", verify == "none"
