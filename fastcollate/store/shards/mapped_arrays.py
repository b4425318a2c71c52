"""One shard's arrays as read-only views of its files, which are mapped when they are first looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StorageError, StoreCorruptError
from fastcollate.storage.local import MappedFile, map_file
from fastcollate.store.shards.entries import ShardEntry
from fastcollate.store.shards.shard_arrays import ColumnEntry, dictionary_of

__all__ = ["MISSING", "MappedArrays", "ShardKind", "wrong_size"]

MISSING = "is missing: restore it or prepare the store again"


class ShardKind(NamedTuple):
    """What all shards of a store have in common.

    Attributes:
        directory: The directory of the store.
        dtypes: The dtype of each array that a shard may have, in their order.
        columns: The named columns.
        shortest: The tokens of the store's shortest record.
        longest: The tokens of its longest one.
    """

    directory: Path
    dtypes: Mapping[str, str]
    columns: Mapping[str, ColumnEntry]
    shortest: int
    longest: int


class MappedArrays:
    """The arrays of one shard by their names, as they lie in its files: `arrays["input_ids"]`.

    Args:
        kind: What the shard shares with the others.
        entry: The manifest's line.

    Attributes:
        kind: What the shard shares with the others.
        entry: The manifest's line.
        is_whole: Whether the files are known to have their hashes, or are trusted.
        is_trusted: Whether nobody looks whether the files change.
    """

    def __init__(self, kind: ShardKind, entry: ShardEntry) -> None:
        self.kind, self.entry = kind, entry
        self.is_whole = self.is_trusted = False
        self._files: dict[int, MappedFile] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.entry.places

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one of the arrays of the shard, as it lies in its file.

        Raises:
            StoreCorruptError: The file has not the size that the manifest says.
            StorageError: The system does not let us read or map it.
        """
        file, at, count = self.entry.places[name]
        dtype = np.dtype(self.kind.dtypes[name])
        return self.file(file).data[at : at + count * dtype.itemsize].view(dtype)

    def file(self, number: int) -> MappedFile:
        """Return a file of the shard, of the size that the manifest says; all but the checksums stay mapped.

        Raises:
            StoreCorruptError: The file is missing, or has another size.
            StorageError: The system does not let us read or map it.
        """
        if number in self._files:
            return self._files[number]
        entry = self.entry.files[number]
        path = self.kind.directory / entry.name
        try:
            found = map_file(path)
        except StorageError as error:
            if path.exists():
                raise
            raise StoreCorruptError(f"{path} {MISSING}") from error
        if len(found.data) != entry.bytes:
            raise StoreCorruptError(wrong_size(path, len(found.data), entry.bytes))
        if number == len(self.entry.files) - 1:
            return found
        return self._files.setdefault(number, found)  # what another thread has mapped meanwhile stays

    def mapped(self) -> Iterable[MappedFile]:
        """Return the files that are mapped, unless they are trusted."""
        return () if self.is_trusted else list(self._files.values())

    def words(self, name: str) -> list[str]:
        """Return the strings that a column's codes in the file stand for.

        Raises:
            StoreCorruptError: They are no strings.
        """
        data, offsets = (self[part] for part in dictionary_of(name))
        if bool((offsets[1:] < offsets[:-1]).any()) or offsets[0] != 0 or offsets[-1] != len(data):
            raise self.corrupt(name, f"the strings of {name} leave their bytes")
        text = data.tobytes()
        try:
            return [text[start:stop].decode() for start, stop in pairwise(offsets.tolist())]
        except UnicodeDecodeError as error:
            raise self.corrupt(name, f"the strings of {name} are not UTF-8") from error

    def path(self, array: str) -> Path:
        """Return the file that an array lies in."""
        return self.kind.directory / self.entry.files[self.entry.places[array][0]].name

    def corrupt(self, array: str, why: str) -> StoreCorruptError:
        """Return the error for an array that cannot be what was written."""
        return StoreCorruptError(
            f"{self.path(array)} is not a file of this store ({why}): restore it or prepare the store again"
        )


def wrong_size(path: Path, size: int, wanted: int) -> str:
    """Return the message for a file of another size than the manifest says."""
    return (
        f"{path} has {size} bytes where the manifest has {wanted} (truncated or changed): restore it or prepare "
        "the store again"
    )
