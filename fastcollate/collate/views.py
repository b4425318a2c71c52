"""The tensors of a parcel given out batch by batch, without a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.ragged import IntArray

__all__ = ["FilledRows", "Flat", "array_views", "row_views", "shaped_views", "weighed"]

Flat = Mapping[str, NDArray[Any]]  # the cells of all batches side by side, by name


class FilledRows(NamedTuple):
    """Gives out the batches of rows that a `PaddingCollator` made.

    Attributes:
        names: The tensors of a batch.
        rows: The rows of each batch.
        columns: The width of each batch.
        as_tuple: Whether a batch is the tuple of its first two tensors.
        record_ids: The record of each row of all batches, int64[R].
        num_tokens: See `Batch`; of each batch.
        num_supervised: See `Batch`; of each batch.
        loss_weights: The `loss_weight` of each batch, where targets weigh otherwise than 1; else None.
    """

    names: Sequence[str]
    rows: list[int]
    columns: list[int]
    as_tuple: bool
    record_ids: IntArray
    num_tokens: list[int]
    num_supervised: list[int]
    loss_weights: list[float] | None = None

    def batches(self, arrays: Flat) -> list[Any]:
        """Return the batches that have these cells."""
        return self.of([array_views(arrays[name], self.rows, self.columns) for name in self.names])

    def of(self, tensors: Sequence[Sequence[torch.Tensor]]) -> list[Any]:
        """Return the batches that have these tensors: of each name, those of all batches."""
        if self.as_tuple:
            return list(zip(tensors[0], tensors[1], strict=True))
        about = row_views(self.record_ids, self.rows), self.num_tokens, self.num_supervised
        made = [
            Batch(zip(self.names, views, strict=True), ids, tokens, targets)
            for views, ids, tokens, targets in zip(zip(*tensors, strict=True), *about, strict=True)
        ]
        return weighed(made, self.loss_weights)


def weighed(batches: list[Batch], loss_weights: list[float] | None) -> list[Batch]:
    """Return batches that know what their targets weigh, where these weigh otherwise than 1."""
    for batch, weight in zip(batches, loss_weights or [], strict=loss_weights is not None):
        batch.loss_weight = weight
    return batches


def array_views(flat: NDArray[Any], rows: Sequence[int], columns: Sequence[int]) -> list[torch.Tensor]:
    """Return the consecutive cells of a flat array as tensors: batch `i` is `[rows[i], columns[i]]`.

    Each is a tensor of its own to torch: it can be changed in place and saved as if there were no others.

    >>> [view.tolist() for view in array_views(np.arange(5), [1, 2], [3, 1])]
    [[[0, 1, 2]], [[3], [4]]]
    """
    if len(rows) == 1:
        return [torch.from_numpy(flat.reshape(rows[0], columns[0]))]
    views, begin = list[torch.Tensor](), 0
    for count, width in zip(rows, columns, strict=True):
        end = begin + count * width
        views.append(torch.from_numpy(flat[begin:end].reshape(count, width)))
        begin = end
    return views


def shaped_views(flat: torch.Tensor, rows: Sequence[int], columns: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return the same of a flat tensor on any device; `data` is what lets each be changed alone."""
    parts = torch.split(flat, [count * width for count, width in zip(rows, columns, strict=True)])
    return [part.view(count, width).data for part, count, width in zip(parts, rows, columns, strict=True)]


def row_views(ids: IntArray, counts: Sequence[int]) -> list[torch.Tensor]:
    """Return a copy of the record ids of all rows, `ids: int64[R]`, in tensors of `counts[i]` rows each."""
    copied = np.array(ids, np.int64)
    return [torch.from_numpy(copied[begin:end]) for begin, end in pairwise(accumulate(counts, initial=0))]
