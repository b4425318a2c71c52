"""Whether the files of a store are the ones its manifest lists."""

from __future__ import annotations

from pathlib import Path

from fastcollate.errors import StoreCorruptError, StoreError, StoreIncompleteError
from fastcollate.store.layouts import Shard, file_hash, index_hash, storage_errors
from fastcollate.store.manifest import MANIFEST, Manifest, is_store_file

__all__ = ["check_files", "check_hashes", "check_index", "read_manifest"]


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store at `path`; without one it is no store."""
    with storage_errors(path):
        if not path.is_dir():
            raise StoreError(f"{path} is not a directory: give the directory that `fastcollate prepare` made")
        if not (path / MANIFEST).is_file():
            if any(is_store_file(entry.name) for entry in path.iterdir()):
                raise StoreIncompleteError(
                    f"{path} has no {MANIFEST}: its writer was stopped before it finished; prepare it again"
                )
            raise StoreError(f"{path} holds no store: give the directory that `fastcollate prepare` made")
        return Manifest.from_bytes((path / MANIFEST).read_bytes(), str(path / MANIFEST))


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


def check_index(path: Path, manifest: Manifest, shards: list[Shard]) -> None:
    """Every shard has its counts, its record boundaries and its place in the source."""
    for entry, shard in zip(manifest.shards, shards, strict=True):
        rows = shard.source_rows
        counts = (len(shard.tokens), len(shard.tokens.values), len(shard.spans.values), len(rows))
        expected = (entry.records, entry.tokens, entry.span_values, entry.records)
        ends = [int(rows[0]), int(rows[-1])] if len(rows) else []
        if counts != expected or ends != entry.source_rows or index_hash(shard) != entry.index_sha256:
            raise StoreCorruptError(
                f"{path / entry.files[0].name} is not the shard the manifest lists here (swapped or changed): its "
                "records begin elsewhere; restore the file or prepare the store again"
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
