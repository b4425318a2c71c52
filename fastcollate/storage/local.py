"""Files of this machine: there whole or not at all, and a failing disk told in our own words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fastcollate.errors import StorageError

__all__ = ["replacing", "storage_error", "write_whole"]


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return our own error for what a disk refused at `path`.

    >>> print(storage_error(Path("store/manifest.json"), OSError(28, "No space left on device")))
    store/manifest.json: No space left on device: free the disk or check the permissions, then try again
    """
    why = error.strerror or error
    return StorageError(f"{path}: {why}: free the disk or check the permissions, then try again")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under `path` whole and durable, or not at all.

    Raises:
        StorageError: The disk failed.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Lend a file that appears under `path` whole and durable, or not at all.

    Raises:
        StorageError: The disk failed.
    """
    draft = path.with_name(path.name + ".tmp")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
