"""Whether the files of a store are the ones its manifest lists."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastcollate.errors import StoreCorruptError, StoreError, StoreIncompleteError
from fastcollate.storage.local import storage_error
from fastcollate.storage.storage import Storage, is_object_url, open_storage
from fastcollate.store.manifest import MANIFEST, Manifest, is_store_file
from fastcollate.store.shards.hashes import file_hash
from fastcollate.store.shards.mapped_arrays import MISSING, wrong_size

__all__ = ["check_files", "check_hashes", "read_manifest"]


def read_manifest(path: Path | str, storage_options: Mapping[str, Any] | None = None) -> Manifest:
    """Return the manifest of the store at `path`; without one it is no store.

    Args:
        path: The directory, or the URL of a prefix in an object store, of which nothing else is read.
        storage_options: Settings of the object store; see `open_storage`.

    Raises:
        StoreError: There is no store, or its manifest is damaged.
        StorageError: The disk or the object store failed.
    """
    if is_object_url(path):
        return _manifest_of_prefix(open_storage(path, storage_options))
    path = Path(path)
    try:
        if not path.is_dir():
            raise StoreError(f"{path} is not a directory: give the directory that `fastcollate prepare` made")
        if not (path / MANIFEST).is_file():
            if any(is_store_file(entry.name) for entry in path.iterdir()):
                raise StoreIncompleteError(
                    f"{path} has no {MANIFEST}: its writer was stopped before it finished; prepare it again: the "
                    "same command goes on with what is finished"
                )
            raise StoreError(f"{path} holds no store: give the directory that `fastcollate prepare` made")
        data = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise storage_error(path, error) from error
    return Manifest.from_bytes(data, str(path / MANIFEST))


def _manifest_of_prefix(storage: Storage) -> Manifest:
    found = storage.look_up(MANIFEST)
    if found is None:
        if any(is_store_file(name) for name in storage.sizes()):
            raise StoreIncompleteError(
                f"{storage.url} has no {MANIFEST}: its writer was stopped before it finished; prepare it again"
            )
        raise StoreError(f"{storage.url} holds no store: give the prefix that `fastcollate prepare` wrote to")
    with storage.open(MANIFEST) as file:
        return Manifest.from_bytes(file.read(), f"{storage.url}/{MANIFEST}")


def check_files(path: Path, manifest: Manifest) -> None:
    """Every file is there and has its size."""
    for file in (file for entry in manifest.shards for file in entry.files):
        try:
            found = os.stat(f"{path}/{file.name}")  # noqa: PTH116  # there may be many thousands: a Path is slow
        except FileNotFoundError:
            raise StoreCorruptError(f"{path / file.name} {MISSING}") from None
        except OSError as error:
            raise storage_error(path / file.name, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise StoreCorruptError(f"{path / file.name} is no file: restore it or prepare the store again")
        if found.st_size != file.bytes:
            raise StoreCorruptError(wrong_size(path / file.name, found.st_size, file.bytes))


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Every file has its SHA-256."""
    for entry in manifest.shards:
        for file in entry.files:
            if file_hash(path / file.name) != file.sha256:
                raise StoreCorruptError(
                    f"{path / file.name} has changed since it was written: its SHA-256 is not the manifest's; "
                    "restore the file or prepare the store again"
                )
