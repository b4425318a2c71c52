"""Rows of numbers as arrays of Arrow, whose buffers are the arrays that the rows lie in: nothing is copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from fastcollate.ragged import IntArray

__all__ = ["arrow_table"]


def arrow_table(columns: Mapping[str, Sequence[tuple[NDArray[Any], IntArray]]]) -> Any:
    """Return a `pyarrow.Table` of columns of lists.

    Args:
        columns: The chunks of each column by name, equally many rows in each: the values side by side, and where
            each row begins and the last one ends, int64[N+1].

    >>> import numpy as np
    >>> arrow_table({"input_ids": [(np.array([1, 2, 3]), np.array([0, 2, 3]))]}).to_pylist()
    [{'input_ids': [1, 2]}, {'input_ids': [3]}]
    """
    return pa.table({name: pa.chunked_array([_lists(*part) for part in parts]) for name, parts in columns.items()})


def _lists(values: NDArray[Any], offsets: IntArray) -> Any:
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
