"""The tensors of a parcel given out batch by batch, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.ragged import IntArray

__all__ = ["array_views", "row_views", "shaped_views"]


def array_views(flat: NDArray[Any], rows: Sequence[int], columns: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return what `shaped_views` does of an array; that of a single batch takes a step less."""
    if len(rows) == 1:
        return [torch.from_numpy(flat.reshape(rows[0], columns[0]))]
    return shaped_views(torch.from_numpy(flat), rows, columns)


def shaped_views(flat: torch.Tensor, rows: Sequence[int], columns: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return views of the consecutive cells of a flat tensor: batch `i` is `[rows[i], columns[i]]`.

    >>> [view.tolist() for view in shaped_views(torch.arange(5), [1, 2], [3, 1])]
    [[[0, 1, 2]], [[3], [4]]]
    """
    if len(set(rows)) == len(set(columns)) == 1:
        return flat.view(len(rows), rows[0], columns[0]).unbind()
    parts = torch.split(flat, [count * width for count, width in zip(rows, columns, strict=True)])
    return [part.view(count, width) for part, count, width in zip(parts, rows, columns, strict=True)]


def row_views(ids: IntArray, counts: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return a copy of the record ids of all rows, `ids: int64[R]`, in views of `counts[i]` rows each."""
    copied = torch.from_numpy(np.array(ids, np.int64))
    return torch.split(copied, list(counts)) if len(counts) > 1 else [copied]
