"""From what a caller calls an output to the place it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastcollate.pretokenize.places.in_directory import DirectoryPlace
from fastcollate.pretokenize.places.place import Place

__all__ = ["place_at"]


def place_at(output: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Place:
    """Return the place where a store is to be made; nothing is read or made yet.

    Args:
        output: The path of a directory, or the URL of a prefix.
        storage_options: Settings of the object store; see `open_storage`.

    Raises:
        InputError: The URL is of another kind, or a setting is wrong.
        StorageError: The extra `cloud` is not installed.

    >>> place_at("store").url
    'store'
    """
    if "://" not in os.fspath(output):
        return DirectoryPlace(Path(output))
    from fastcollate.pretokenize.places.in_objects import PrefixPlace  # noqa: PLC0415  # only for those who need it

    return PrefixPlace(os.fspath(output), storage_options)
