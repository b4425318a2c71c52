"""What the manifest says of one shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["FileEntry", "Layout", "ShardEntry", "file_names"]

Layout = Literal["arrow", "npy"]


def file_names(shard: int, layout: Layout, arrays: Sequence[str]) -> list[str]:
    """Return the files of shard number `shard`, which has these arrays.

    >>> file_names(3, "arrow", ["input_ids", "offsets"])
    ['shard-00003.arrow', 'shard-00003.blocks.npy']
    """
    stem = _stem(shard)
    data = [f"{stem}.arrow"] if layout == "arrow" else [f"{stem}.{array}.npy" for array in arrays]
    return [*data, f"{stem}.blocks.npy"]


def _stem(shard: int) -> str:
    return f"shard-{shard:05d}"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a shard: its plain name, its size and the hash of all its bytes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard: counts, the hash of all its arrays but the token ids, and where each array lies.

    `row_base` is what its rows of the source count from. `places` has of each array the number of its file, its
    first byte there, and how many values it has. The last of `files` has the checksums of blocks.
    """

    records: int
    tokens: int
    row_base: int
    index_sha256: str
    places: dict[str, list[int]]
    files: list[FileEntry]

    def renumbered(self, number: int, *, rows: int) -> ShardEntry:
        """Return the same shard as number `number` of a store, where `rows` more rows come before its own."""
        files = [replace(file, name=f"{_stem(number)}.{file.name.partition('.')[2]}") for file in self.files]
        return replace(self, row_base=self.row_base + rows, files=files)
