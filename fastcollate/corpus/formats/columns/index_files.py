"""The JSON index that lies beside foreign files: read as plain data, and names in it only of files beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastcollate.corpus.mapped.mapped_files import broken
from fastcollate.errors import UnsafeStoreError
from fastcollate.storage.local import storage_errors

__all__ = ["beside", "index_of", "listed"]


def index_of(file: Path) -> dict[str, Any]:
    """Return what an index holds, nothing where there is no such file.

    Raises:
        StoreCorruptError: It is no JSON object.
        StorageError: The system does not let us read it.
    """
    if not file.is_file():
        return {}
    with storage_errors(file):
        data = file.read_bytes()
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise broken(file, f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise broken(file, "it is no JSON object")
    return found


def listed(file: Path, value: Any, name: str) -> list[dict[str, Any]]:
    """Return a list of objects that an index has under a name.

    Raises:
        StoreCorruptError: It has none, or something else.
    """
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise broken(file, f"its {name} are no list of objects")
    return value


def beside(file: Path, name: Any) -> Path:
    """Return the file beside an index that it names.

    Raises:
        UnsafeStoreError: The name is no plain name of a file, and leads elsewhere.
    """
    if not isinstance(name, str) or not name or name in {".", ".."} or set(name) & set("/\\\0"):
        raise UnsafeStoreError(
            f"{file} names {name!r:.80}, which is no plain name of a file beside it; do not open it"
        )
    return file.parent / name
