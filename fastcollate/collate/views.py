"""The tensors of a parcel given out batch by batch, without a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fastcollate.ragged import IntArray

__all__ = ["row_views", "shaped_views"]


def shaped_views(flat: torch.Tensor, rows: Sequence[int], columns: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return views of the consecutive cells of a flat tensor: batch `i` is `[rows[i], columns[i]]`.

    >>> [view.tolist() for view in shaped_views(torch.arange(5), [1, 2], [3, 1])]
    [[[0, 1, 2]], [[3], [4]]]
    """
    if len(rows) == 1:
        return [flat.view(rows[0], columns[0])]
    if len(set(rows)) == len(set(columns)) == 1:
        return flat.view(len(rows), rows[0], columns[0]).unbind()
    parts = torch.split(flat, [count * width for count, width in zip(rows, columns, strict=True)])
    return [part.view(count, width) for part, count, width in zip(parts, rows, columns, strict=True)]


def row_views(ids: IntArray, counts: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return a copy of the record ids of all rows, `ids: int64[R]`, in views of `counts[i]` rows each."""
    copied = torch.from_numpy(np.array(ids, np.int64))
    return torch.split(copied, list(counts)) if len(counts) > 1 else [copied]
