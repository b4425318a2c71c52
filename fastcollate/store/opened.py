"""Opening a store: its manifest, its shards mapped, and as much checked as was asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from fastcollate.ragged import offsets_of
from fastcollate.storage.storage import is_object_url
from fastcollate.store.manifest import Manifest
from fastcollate.store.shards.background import Unverified, check_shard
from fastcollate.store.shards.dictionaries import Dictionaries
from fastcollate.store.shards.mapped_arrays import MappedArrays, ShardKind
from fastcollate.store.shards.shard import Shard
from fastcollate.store.shards.shard_arrays import array_dtypes
from fastcollate.store.verify import check_files, not_here, read_manifest

__all__ = ["Opened", "Verify", "open_store"]

Verify = Literal["none", "index", "full"]


class Opened(NamedTuple):
    """The manifest of a whole store, its shards, and the strings that the codes of columns stand for."""

    manifest: Manifest
    shards: list[Shard]
    dictionaries: Dictionaries


def open_store(path: Path, *, verify: Verify, fingerprint: str | None) -> Opened:
    """Open the store at `path`.

    Args:
        path: The directory.
        verify: How much is checked.
        fingerprint: The fingerprint that it must have, or had before records were appended, and is then opened as
            it was; None will have any.

    Raises:
        StoreError: The store cannot be used.
    """
    if is_object_url(path):  # of a store that was sent here by a process that knows its manifest alone
        raise not_here(path)
    manifest = read_manifest(path, fingerprint)
    if verify != "none":
        check_files(path, manifest)
    shards, dictionaries = _shards_of(path, manifest)
    for shard, first in zip(shards, offsets_of([shard.records for shard in shards]).tolist(), strict=False):
        if verify == "full":
            check_shard(Unverified(shard.arrays, first))
        shard.arrays.is_whole, shard.arrays.is_trusted = verify != "index", verify == "none"
    return Opened(manifest, shards, dictionaries)


def _shards_of(path: Path, manifest: Manifest) -> tuple[list[Shard], Dictionaries]:
    """Return the shards of a store, none of which is mapped yet."""
    dtypes, lengths = array_dtypes(manifest.dtype, manifest.columns), manifest.lengths
    kind = ShardKind(path, dtypes, manifest.columns, lengths[0][0], lengths[-1][0])
    arrays = [MappedArrays(kind, entry) for entry in manifest.shards]
    dictionaries = Dictionaries([each.words for each in arrays])
    shards = [Shard(each, partial(dictionaries.table, shard=number)) for number, each in enumerate(arrays)]
    return shards, dictionaries
