"""Opening a store: its manifest, its shards mapped, and as much checked as was asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fastcollate.errors import StoreChangedError
from fastcollate.store.manifest import Manifest
from fastcollate.store.shards.mapping import Shard, map_shard
from fastcollate.store.shards.shard_arrays import STRING, array_dtypes
from fastcollate.store.verify import check_files, check_hashes, read_manifest

__all__ = ["Opened", "Verify", "open_store"]

Verify = Literal["none", "index", "full"]


class Opened(NamedTuple):
    """The manifest of a whole store, its mapped shards, and the strings that the codes of columns stand for."""

    manifest: Manifest
    shards: list[Shard]
    words: dict[str, list[str]]


def open_store(path: Path, *, verify: Verify, fingerprint: str | None) -> Opened:
    """Map the store at `path`.

    Args:
        path: The directory.
        verify: How much is checked.
        fingerprint: The fingerprint that it must have; None will have any.

    Raises:
        StoreError: The store cannot be used.
    """
    manifest = read_manifest(path)
    if fingerprint is not None and fingerprint != manifest.fingerprint:
        raise StoreChangedError(
            f"{path} was replaced by another store while it was in use, or was never the one asked for "
            f"(its fingerprint is {manifest.fingerprint[:12]}..., not {str(fingerprint)[:12]}...): restart "
            "the run that reads it, or restore that store"
        )
    shards = _map_shards(path, manifest, check=verify != "none")
    if verify == "full":
        check_hashes(path, manifest)
    strings = [name for name, column in manifest.columns.items() if column.dtype == STRING]
    return Opened(manifest, shards, {name: _one_dictionary(shards, name) for name in strings})


def _map_shards(path: Path, manifest: Manifest, *, check: bool) -> list[Shard]:
    """Map all shards; with `check` every file has its size, and all of every shard but its token ids its hash."""
    if check:
        check_files(path, manifest)
    dtypes = array_dtypes(manifest.dtype, manifest.columns)
    work = partial(map_shard, path, dtypes=dtypes, columns=manifest.columns, check=check)
    if len(manifest.shards) == 1 or not check:  # a thread for one shard only costs its start
        return list(map(work, manifest.shards))
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter to others
        return list(pool.map(work, manifest.shards))


def _one_dictionary(shards: list[Shard], name: str) -> list[str]:
    """Number the strings of a column through all shards, and return them."""
    numbers: dict[str, int] = {}
    for shard in shards:
        table = [numbers.setdefault(word, len(numbers)) for word in shard.words(name)]
        shard.recode(name, np.array(table, np.int32))
    return list(numbers)
