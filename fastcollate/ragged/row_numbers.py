"""Checks of the numbers of rows and records that a caller asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.errors import InputError

__all__ = ["record_number", "row_numbers"]


def record_number(index: object, count: int, *, of: str) -> int:
    """Return a checked number of a record, from 0 to `count - 1`; negative ones count from the end.

    Args:
        index: The number to check.
        count: How many records there are.
        of: What has the records, for the error.

    Raises:
        InputError: It is no integer.
        IndexError: There is no such record.

    >>> record_number(-1, 3, of="store")
    2
    """
    if not isinstance(index, int | np.integer):
        raise InputError(f"record {index!r} of a {of}: give one number; take([...]) copies several records")
    if not -count <= index < count:
        raise IndexError(f"record {index} of a {of} with {count} records")
    return int(index) % count


def row_numbers(indices: ArrayLike, count: int) -> NDArray[np.int64]:
    """Return checked numbers of rows, int64[M].

    Args:
        indices: The numbers to check.
        count: How many rows there are.

    Raises:
        InputError: The numbers are no flat sequence of integers from 0 to `count - 1`.
    """
    try:
        chosen = np.asarray(indices)
    except ValueError:
        chosen = np.zeros((0, 0))
    flat = chosen.ndim == 1 and (chosen.dtype.kind in "iu" or not chosen.size)
    if not flat or (chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < count):
        raise InputError(f"take needs row numbers from 0 to {count - 1}; a mask becomes them by np.flatnonzero")
    return chosen.astype(np.int64, copy=False)
