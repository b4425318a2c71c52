"""Rows of arrays that lie in files or objects and are not in memory: read in merged ranges, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastcollate.ragged import IntArray, MergedRows, Scattered, new_array
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["RangeReader", "StoredArray", "read_rows"]


class RangeReader(Protocol):
    """What ranges of bytes are asked from: any `Storage`, or a cache before one."""

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return the bytes from each start to its stop, in the order asked for; neighbours come in one request."""
        ...


class StoredArray(NamedTuple):
    """An array of a file or an object.

    Attributes:
        storage: What its bytes are asked from.
        name: The name of the file there.
        at: The array's first byte.
        dtype: The dtype of its values.
    """

    storage: RangeReader
    name: str
    at: int
    dtype: np.dtype[Any]


def read_rows(
    arrays: Sequence[StoredArray],
    homes: IntArray | None,
    starts: IntArray,
    lengths: IntArray,
    counts: ReadCounts,
) -> Scattered:
    """Return rows of stored arrays of one dtype, in memory of their own; each value is asked for once.

    Args:
        arrays: The arrays that the rows lie in.
        homes: The number of each row's array, int64[R]; None where there is one.
        starts: Each row's first value in its array, int64[R].
        lengths: Each row's values, int64[R].
        counts: What the bytes that were asked for and wanted are added to.

    Raises:
        StorageError: A disk or a server failed.
    """
    merged, dtype = MergedRows.of(homes, starts, lengths), arrays[0].dtype
    values = new_array((int(merged.sizes.sum()),), dtype)
    out, at = values.view(np.uint8).data, 0
    for home, some in merged.by_home():
        array = arrays[home]
        begins, ends = (array.at + edge[some] * dtype.itemsize for edge in (merged.begins, merged.ends))
        for part in array.storage.read_ranges(array.name, list(zip(begins.tolist(), ends.tolist(), strict=True))):
            out[at : at + len(part)] = part
            at += len(part)
    counts.bytes_read += at
    counts.bytes_used += int(lengths.sum()) * dtype.itemsize
    return Scattered([values], dtype, None, merged.places, lengths)
