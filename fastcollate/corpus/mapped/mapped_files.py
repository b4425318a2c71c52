"""Foreign files as arrays: mapped, viewed as what they should hold, and told in our words where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastcollate.errors import InputError, StoreCorruptError
from fastcollate.storage.local import MappedFile, map_file, storage_errors

__all__ = ["DTYPES", "broken", "check_dtype", "first_bytes", "named_dtype", "opened_file", "viewed", "whole_file"]

DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


def broken(file: Path, why: str) -> StoreCorruptError:
    """Return the error for a file that cannot be what was written.

    >>> print(broken(Path("train.idx"), "it ends in its header"))
    train.idx is not what was written (it ends in its header): restore the file, or write it again
    """
    return StoreCorruptError(f"{file} is not what was written ({why}): restore the file, or write it again")


def whole_file(file: Path) -> NDArray[np.uint8]:
    """Return the bytes of a file, mapped: uint8[bytes].

    Raises:
        StoreCorruptError: There is no such file.
        StorageError: The system does not let us read or map it.
    """
    if not file.is_file():
        raise StoreCorruptError(f"{file} is missing: restore it, or write the files again")
    return map_file(file).data


def opened_file(file: Path) -> MappedFile:
    """Return which file has a name today, without its bytes: what somebody else has mapped is not mapped again.

    Raises:
        StorageError: The disk failed.
    """
    found = MappedFile(np.zeros(0, np.uint8), (), file)
    return found._replace(identity=found.identity_now() or ())


def first_bytes(file: Path, count: int) -> bytes:
    """Return the first bytes of a file, fewer where it is shorter, and none of what is no file.

    Raises:
        StorageError: The system does not let us read it.
    """
    if not file.is_file():
        return b""
    with storage_errors(file), file.open("rb") as opened:
        return opened.read(count)


def viewed(
    file: Path, data: NDArray[np.uint8], dtype: DTypeLike, *, at: int = 0, count: int | None = None
) -> NDArray[Any]:
    """Return some bytes of a file as values, little-endian as all these formats are.

    Args:
        file: The file, for messages.
        data: Its bytes.
        dtype: The dtype of the values.
        at: The byte where they begin.
        count: How many there are; by default all to the end of the file, which must be whole values.

    Raises:
        StoreCorruptError: The file ends before them, or within the last one.
    """
    kind = np.dtype(f"<{np.dtype(dtype).str[1:]}")
    rest = len(data) - at
    if count is None:
        count, odd = divmod(rest, kind.itemsize)
        if odd or rest < 0:
            raise broken(file, f"its {len(data)} bytes are no whole number of {np.dtype(dtype)} from byte {at} on")
    elif count * kind.itemsize > rest or count < 0:
        raise broken(file, f"it has {len(data)} bytes where {count} of {np.dtype(dtype)} begin at byte {at}")
    return data[at : at + count * kind.itemsize].view(kind)


def named_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype that a caller names.

    Raises:
        InputError: It is no integer of 8 to 64 bits.

    >>> named_dtype("uint16"), named_dtype(np.int32)
    (dtype('uint16'), dtype('int32'))
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.name not in DTYPES:
        raise InputError(f"dtype is {dtype!r}: it must be one of {', '.join(DTYPES)}")
    return found


def check_dtype(given: Any, found: DTypeLike, file: Path) -> None:
    """Make sure that a caller who names a dtype means the one that the file itself has.

    Raises:
        InputError: He means another.
    """
    if given is not None and named_dtype(given) != np.dtype(found):
        raise InputError(
            f"dtype is {given!r}, but {file} has {np.dtype(found)}: leave dtype out, since the file says it"
        )
