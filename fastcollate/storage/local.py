"""Files of this machine: there whole or not at all, and a failing disk told in our own words."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StorageError

__all__ = ["make_durable", "map_file", "replacing", "storage_error", "write_whole"]


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


def make_durable(path: Path) -> None:
    """Bring a file that was written to the disk, if it is there.

    Raises:
        StorageError: The disk failed.
    """
    try:
        with suppress(FileNotFoundError), path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error


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


def map_file(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a file, read when they are looked at: a read-only `uint8[S]`, without a descriptor.

    Raises:
        StorageError: The system does not let us read or map it.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return np.frombuffer(b"", np.uint8)
            return np.frombuffer(_mapped(file, path), np.uint8)
    except OSError as error:
        raise storage_error(path, error) from error


def _mapped(file: BinaryIO, path: Path) -> Any:
    if sys.version_info >= (3, 13):
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False)
    import pyarrow as pa  # noqa: PLC0415  # an older mmap keeps a descriptor each; its maps do not

    return pa.memory_map(str(path)).read_buffer()
