"""Files of this machine: there whole or not at all, and a failing disk told in our own words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fastcollate.errors import StorageError

__all__ = ["replacing", "storage_errors"]


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a failing disk into our own error, with the path."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror or error}: free the disk or check the permissions, then try again"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under `path` whole and durable, or not at all."""
    draft = path.with_name(path.name + ".tmp")
    with storage_errors(path):
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
