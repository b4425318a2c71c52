"""Arrays as MDS encodes them: with a dtype and a shape before the values, unless the encoding names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.formats.columns.samples import Places, check_samples, numbers_at
from fastcollate.corpus.mapped.copied_rows import Arrays
from fastcollate.corpus.mapped.mapped_files import check_dtype, named_dtype
from fastcollate.errors import InputError, StoreError
from fastcollate.ragged import IntArray

__all__ = ["MdsColumn", "mds_arrays"]

_DTYPES = {8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 32: "uint32", 33: "int32", 64: "uint64", 65: "int64"}


class MdsColumn(NamedTuple):
    """A column of a shard: its name, its encoding, and where it lies in each sample."""

    name: str
    encoding: str
    places: Places


def mds_arrays(file: Path, data: NDArray[np.uint8], column: MdsColumn, dtype: Any) -> Arrays:
    """Return where the arrays of a column lie, as its encoding says.

    Args:
        file: The file, for messages.
        data: Its bytes.
        column: The column.
        dtype: The dtype that the caller names.

    Raises:
        StoreError: They are no flat integers of one dtype.
        InputError: They are bytes, and nobody names their dtype; or it is another than theirs.
    """
    name, encoding, (starts, sizes) = column
    kind, _, settings = encoding.partition(":")
    named, _, shape = settings.partition(":")
    if kind == "bytes":
        if dtype is None:
            raise InputError(
                f"{file} has its {name} as bytes, and does not say of which dtype: name it, such as dtype='int64'"
            )
        found = named_dtype(dtype)
        check_samples(file, sizes % found.itemsize == 0, f"has {name} that are no whole {found}")
        return Arrays(found, starts, sizes // found.itemsize)
    if kind != "ndarray":
        raise StoreError(f"{file} has its {name} as {encoding!r:.40}: an ndarray is read, and nothing unpickled")
    if not named:
        check_samples(file, sizes > 0, f"has no {name}")
        codes = np.unique(data[starts])
        named = _DTYPES.get(int(codes[0]), "no integers") if len(codes) == 1 else "several dtypes"
        starts, sizes = starts + 1, sizes - 1
    if named not in _DTYPES.values() or "," in shape:
        raise StoreError(f"{file} has its {name} as {encoding} ({named}): they must be flat integers of one dtype")
    check_dtype(dtype, named, file)
    size = np.dtype(named).itemsize
    starts, sizes, counts = (starts, sizes, sizes // size) if shape else _flat(file, data, name, starts, sizes)
    check_samples(file, counts * size == sizes, f"has {name} of another size than it says")
    return Arrays(np.dtype(named), starts, counts)


def _flat(
    file: Path, data: NDArray[np.uint8], name: str, starts: IntArray, sizes: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Return where arrays lie behind their shapes, and their values: 0b101 is one dimension, in two bytes more."""
    check_samples(file, sizes > 0, f"has no {name}")
    shapes = data[starts]
    widths = np.int64(1) << (shapes & 3)
    check_samples(file, (shapes >> 2 == 1) & (sizes > widths), f"has {name} that are not one-dimensional")
    counts = np.empty(len(starts), np.int64)
    for width in np.unique(widths).tolist():
        some = np.flatnonzero(widths == width)
        counts[some] = numbers_at(data, starts[some] + 1, width)
    return starts + 1 + widths, sizes - 1 - widths, counts
