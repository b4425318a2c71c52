"""SHA-256 of the files of a store: of all their bytes, and of all but the token ids."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fastcollate.storage.local import storage_error

__all__ = ["file_hash", "index_hash", "shard_hashes"]

_HASHED_AT_ONCE = 1 << 18  # bytes: one block, read over and over, stays in the cache


def shard_hashes(paths: list[Path], values_at: int, values_bytes: int) -> tuple[str, list[str]]:
    """Return the hash of a shard's index, and the hashes of its files."""
    return index_hash(paths, values_at, values_bytes), [file_hash(path) for path in paths]


def index_hash(paths: list[Path], values_at: int, values_bytes: int) -> str:
    """Return the SHA-256 of all bytes of a shard but the token ids: what every read trusts, and what is parsed."""
    digest = hashlib.sha256()
    block = memoryview(bytearray(_HASHED_AT_ONCE))
    for path in paths:
        try:
            with path.open("rb", buffering=0) as file:
                if path is paths[0]:
                    digest.update(file.read(values_at))
                    file.seek(values_bytes, os.SEEK_CUR)
                while count := file.readinto(block):
                    digest.update(block[:count])
        except OSError as error:
            raise storage_error(path, error) from error
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise storage_error(path, error) from error
