"""Whether the files of a store are the ones its manifest lists."""

from __future__ import annotations

from pathlib import Path

from fastcollate.errors import StoreCorruptError, StoreError, StoreIncompleteError
from fastcollate.storage.local import storage_error
from fastcollate.store.manifest import MANIFEST, Manifest, is_store_file
from fastcollate.store.shards.hashes import file_hash

__all__ = ["check_files", "check_hashes", "read_manifest"]


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the store at `path`; without one it is no store."""
    try:
        if not path.is_dir():
            raise StoreError(f"{path} is not a directory: give the directory that `fastcollate prepare` made")
        if not (path / MANIFEST).is_file():
            if any(is_store_file(entry.name) for entry in path.iterdir()):
                raise StoreIncompleteError(
                    f"{path} has no {MANIFEST}: its writer was stopped before it finished; prepare it again"
                )
            raise StoreError(f"{path} holds no store: give the directory that `fastcollate prepare` made")
        data = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise storage_error(path, error) from error
    return Manifest.from_bytes(data, str(path / MANIFEST))


def check_files(path: Path, manifest: Manifest) -> None:
    """Every file is there and has its size."""
    for entry in manifest.shards:
        for file in entry.files:
            target = path / file.name
            if not target.is_file():
                raise StoreCorruptError(f"{target} is missing: restore it or prepare the store again")
            if (size := target.stat().st_size) != file.bytes:
                raise StoreCorruptError(
                    f"{target} has {size} bytes where the manifest has {file.bytes} (truncated or changed): "
                    "restore it or prepare the store again"
                )


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Every file has its SHA-256."""
    for entry in manifest.shards:
        for file in entry.files:
            if file_hash(path / file.name) != file.sha256:
                raise StoreCorruptError(
                    f"{path / file.name} has changed since it was written: its SHA-256 is not the manifest's; "
                    "restore the file or prepare the store again"
                )
