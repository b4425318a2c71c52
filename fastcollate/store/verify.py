"""Whether the files of a store are the ones its manifest lists."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastcollate.errors import StoreChangedError, StoreCorruptError, StoreError, StoreIncompleteError, plural
from fastcollate.storage.local import storage_error
from fastcollate.storage.storage import Storage, is_object_url, open_storage
from fastcollate.store.manifest import MANIFEST, Manifest, is_kept, is_store_file, kept_name
from fastcollate.store.shards.hashes import changed, file_hash
from fastcollate.store.shards.mapped_arrays import MISSING, wrong_size

__all__ = ["check_files", "check_hashes", "manifest_of_prefix", "not_here", "read_manifest"]


def read_manifest(
    path: Path | str, fingerprint: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Manifest:
    """Return the manifest of the store at `path`; without one it is no store.

    Args:
        path: The directory, or the URL of a prefix in an object store, of which nothing else is read.
        fingerprint: The fingerprint of the manifest that is wanted: the store's own, or one that was kept when
            records were appended. None will have the store's own.
        storage_options: Settings of the object store; see `open_storage`.

    Raises:
        StoreError: There is no store, or none of that fingerprint.
        StorageError: The disk or the object store failed.
    """
    if is_object_url(path):
        return manifest_of_prefix(open_storage(path, storage_options), fingerprint)
    path = Path(path)
    data = _current(path)
    if fingerprint is None or _sha256(data) == fingerprint:
        return Manifest.from_bytes(data, str(path / MANIFEST))
    name = kept_name(str(fingerprint))
    try:
        kept = (path / name).read_bytes() if is_kept(name) and (path / name).is_file() else None
        others = 0 if kept is not None else sum(is_kept(entry.name) for entry in path.iterdir())
    except OSError as error:
        raise storage_error(path, error) from error
    if kept is None:
        raise _other_store(path, Manifest.from_bytes(data, str(path / MANIFEST)), others, str(fingerprint))
    if _sha256(kept) != fingerprint:
        raise StoreCorruptError(
            f"{path / name} has changed since it was written: its SHA-256 is not the one in its name; restore "
            "the file, or open the store as it is today, without a fingerprint"
        )
    return Manifest.from_bytes(kept, str(path / name))


def _other_store(path: Path | str, found: Manifest, kept: int, wanted: str) -> StoreChangedError:
    also = f", {plural(kept, 'earlier one')} kept, none" if kept else ", not"
    return StoreChangedError(
        f"{path} was replaced by another store while it was in use, or was never the one asked for "
        f"(its fingerprint is {found.fingerprint[:12]}...{also} {wanted[:12]}...): restart the run that reads it, "
        "or restore that store"
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _current(path: Path) -> bytes:
    """Return the bytes of the manifest that the store has today."""
    try:
        if not path.is_dir():
            raise StoreError(f"{path} is not a directory: give the directory that `fastcollate prepare` made")
        if not (path / MANIFEST).is_file():
            if any(is_store_file(entry.name) for entry in path.iterdir()):
                raise StoreIncompleteError(
                    f"{path} has no {MANIFEST}: its writer was stopped before it finished; prepare or merge it "
                    "again: the same command goes on with what is finished"
                )
            raise StoreError(f"{path} holds no store: give the directory that `fastcollate prepare` made")
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        raise storage_error(path, error) from error


def manifest_of_prefix(storage: Storage, fingerprint: str | None = None) -> Manifest:
    """Return the manifest of the store in a prefix of an object store; see `read_manifest`."""
    data = storage.read(MANIFEST)
    if data is None:
        if any(is_store_file(name) for name in storage.sizes()):
            raise StoreIncompleteError(
                f"{storage.url} has no {MANIFEST}: its writer was stopped before it finished; prepare it again"
            )
        raise StoreError(f"{storage.url} holds no store: give the prefix that `fastcollate prepare` wrote to")
    if fingerprint is None or _sha256(data) == fingerprint:
        return Manifest.from_bytes(data, f"{storage.url}/{MANIFEST}")
    name = kept_name(str(fingerprint))
    kept = storage.read(name) if is_kept(name) else None
    if kept is None or _sha256(kept) != fingerprint:
        found = Manifest.from_bytes(data, f"{storage.url}/{MANIFEST}")
        raise _other_store(storage.url, found, sum(map(is_kept, storage.sizes())), str(fingerprint))
    return Manifest.from_bytes(kept, f"{storage.url}/{name}")


def not_here(url: Path | str) -> StoreError:
    """Return the error for what needs the files of a store, and is given one in an object store.

    >>> print(not_here("s3://bucket/store"))
    s3://bucket/store: is not on this machine, and this needs its files: copy the prefix to a directory
    """
    return StoreError(f"{url}: is not on this machine, and this needs its files: copy the prefix to a directory")


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
                raise StoreCorruptError(changed(path / file.name))
