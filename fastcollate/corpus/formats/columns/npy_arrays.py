"""Arrays in NumPy's format within larger files: where their values lie, without a pickle ever being opened."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_files import broken
from fastcollate.errors import StoreError

__all__ = ["Extent", "NpyArray", "npy_array"]


class Extent(NamedTuple):
    """Some bytes of a file: the first one, and how many there are."""

    start: int
    size: int


class NpyArray(NamedTuple):
    """A flat array of integers: its dtype, the byte of the file where its values begin, and their number."""

    dtype: np.dtype[Any]
    start: int
    length: int


def npy_array(file: Path, name: str, data: NDArray[np.uint8], extent: Extent) -> NpyArray:
    """Return where the values of an array lie.

    Args:
        file: The file, for messages.
        name: What messages call the array in it.
        data: The bytes of the file.
        extent: Which of them are the array, with its header.

    Raises:
        StoreError: It is no array, cut short, or not one of one dimension of integers.
    """
    start, size = extent
    head = data[start : start + min(12, size)].tobytes()
    if head[:6] != b"\x93NUMPY" or len(head) < 12 or head[6] not in (1, 2):
        raise broken(file, f"its member {name} is no array of NumPy's")
    within = 10 + int.from_bytes(head[8:10], "little") if head[6] == 1 else 12 + int.from_bytes(head[8:], "little")
    try:
        dtype, count = _header(data[start : start + min(within, size)].tobytes())
    except Exception as error:  # Python's own parsers read it, and have errors of their own
        raise broken(file, f"its member {name} has a damaged header: {error}") from error
    if dtype.kind not in "iu" or not dtype.isnative or count < 0:
        raise StoreError(
            f"{file}: its member {name} is {dtype}, or has not one dimension: token ids are one-dimensional "
            "integers, and nothing is unpickled"
        )
    if within + count * dtype.itemsize != size:
        raise broken(file, f"its member {name} has another size than its header says")
    return NpyArray(dtype, start + within, count)


@lru_cache(1 << 16)
def _header(header: bytes) -> tuple[np.dtype[Any], int]:
    """Return the dtype that a header names, and how many values; -1 of them where it has not one dimension."""
    opened = BytesIO(header)
    version = np.lib.format.read_magic(opened)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(opened)
    return dtype, shape[0] if len(shape) == 1 else -1
