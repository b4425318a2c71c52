"""Mapping one shard: its arrays as read-only views of the files, by the places that the manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError, StoreCorruptError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.storage.local import map_file
from fastcollate.store.shards.entries import ShardEntry
from fastcollate.store.shards.hashes import index_hash
from fastcollate.store.shards.shard_arrays import STRING, USUAL, Arrays, ColumnEntry, dictionary_of

__all__ = ["Beside", "Shard", "map_shard"]


class Beside(NamedTuple):
    """A column beside the tokens: record `i` has `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: IntArray


@dataclass(slots=True, eq=False)
class Shard:
    """One shard, mapped.

    Attributes:
        tokens: The token ids, uint16|uint32.
        spans: Their supervised parts as flat pairs, uint32.
        arrays: All arrays by name.
        row_base: What the rows count from.
    """

    tokens: Ragged
    spans: Ragged
    arrays: Arrays
    row_base: int
    columns: Mapping[str, ColumnEntry]
    _beside: dict[str, Ragged | Beside] = field(default_factory=dict)

    def beside(self, name: str) -> Ragged | Beside:
        """Return a column by its name; strings are codes of the shard's own dictionary."""
        if name not in self._beside:
            entry = self.columns[name]
            offsets = self._offsets(entry.per)
            values = self.arrays.get(name)
            if values is None:
                values = np.full(int(offsets[-1]), USUAL[name], entry.dtype)
            self._beside[name] = Beside(values, offsets)
        return self._beside[name]

    def words(self, name: str) -> list[str]:
        """Return the strings that a column's codes stand for."""
        data, offsets = (self.arrays[part] for part in dictionary_of(name))
        text, edges = data.tobytes(), offsets.tolist()
        return [text[start:stop].decode() for start, stop in pairwise(edges)]

    def recode(self, name: str, table: NDArray[np.int32]) -> None:
        """Let the codes of a column of strings be those of the whole store."""
        self._beside[name] = Beside(table[self.arrays[name]], self._offsets(self.columns[name].per))

    def _offsets(self, per: str) -> IntArray:
        if per == "token":
            return self.tokens.offsets
        return self.spans.offsets // 2 if per == "span" else np.arange(len(self.tokens) + 1)


def map_shard(
    directory: Path,
    entry: ShardEntry,
    dtypes: Mapping[str, str],
    columns: Mapping[str, ColumnEntry],
    *,
    check: bool,
) -> Shard:
    """Map the shard of a manifest's line.

    Args:
        directory: The directory of the store.
        entry: The line.
        dtypes: The dtype of each array that a shard may have, in their order.
        columns: The named columns.
        check: Whether the arrays but the token ids must have their hash.

    Raises:
        StoreCorruptError: A file is too short, the index has changed, or offsets fall or leave their values.
        StorageError: The system does not let us read or map a file.
    """
    files = [map_file(directory / file.name).data for file in entry.files[:-1]]
    where = directory / entry.files[0].name
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype in dtypes.items():
        if name not in entry.places:
            continue
        file, at, count = entry.places[name]
        size = count * np.dtype(dtype).itemsize
        if at + size > len(files[file]):
            raise _corrupt(directory / entry.files[file].name, f"it ends before its {name}")
        arrays[name] = files[file][at : at + size].view(dtype)
    if check and index_hash(array for name, array in arrays.items() if name != "input_ids") != entry.index_sha256:
        raise StoreCorruptError(
            f"{where} is not the shard the manifest lists here (swapped or changed): restore the file or "
            "prepare the store again"
        )
    try:
        tokens = Ragged(arrays["input_ids"], arrays["offsets"])
        spans = Ragged(arrays["spans"], arrays["span_offsets"])
        for name, column in columns.items():
            if column.dtype == STRING:
                _check_codes(arrays, name)
    except InputError as error:
        raise _corrupt(where, str(error)) from error
    if not _begins_and_ends(tokens) or not _begins_and_ends(spans):
        raise _corrupt(where, "its offsets do not reach from 0 to the end")
    return Shard(tokens, spans, arrays, entry.row_base, columns)


def _begins_and_ends(rows: Ragged) -> bool:
    return bool(rows.offsets[0] == 0 and rows.offsets[-1] == len(rows.values))


def _check_codes(arrays: Arrays, name: str) -> None:
    words, offsets = (arrays[part] for part in dictionary_of(name))
    codes = arrays[name]
    if bool((np.diff(offsets) < 0).any()) or offsets[0] != 0 or offsets[-1] != len(words):
        raise InputError(f"the strings of {name} leave their bytes")
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(offsets) - 1:
        raise InputError(f"a code of {name} stands for no string")


def _corrupt(path: Path, why: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"{path} is not a shard of this store ({why}): restore the file or prepare the store again"
    )
