"""Padding on the device: the semantics of the NumPy kernels in vectorised torch, from staged arrays.

Tokens come side by side in their store's dtype, everything else as int32. No operation here makes the host wait
for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from fastcollate.collate.batch import Batch
from fastcollate.collate.staged import Built

__all__ = ["PacksBuild", "RowsBuild"]

_SIGNED = {torch.uint16: (torch.int16, 0xFFFF), torch.uint32: (torch.int32, 0xFFFFFFFF)}


class RowsBuild(NamedTuple):
    """Builds the batch of rows that `PaddingCollator.stage` made travel.

    The staged arrays: `tokens` side by side, or in place, `[B, columns + shift]`, with anything in the padding;
    `lengths: int32[B]` of the rows, which are all as long as the batch is wide if they did not travel; `labels`
    and `runs` where there are any. Of the row [1 2 9] (its end token last), shift 1 and 3 columns:
    inputs [1 2 P], labels [2 9 -100].

    Attributes:
        columns: The width of the batch, T.
        shift: 1 if labels are the next token, else 0.
        left: Whether padding lies on the left.
        pad_token_id: What padding holds in `input_ids`.
        unlabelled: What `labels` hold at padding and at tokens that are no targets.
        labels: Whether the batch has labels.
        as_tuple: Whether `(input_ids, labels)` is built instead of a `Batch`.
        record_ids: See `Batch`.
        num_tokens: See `Batch`.
        num_supervised: See `Batch`.
    """

    columns: int
    shift: int
    left: bool
    pad_token_id: int
    unlabelled: int
    labels: bool
    as_tuple: bool
    record_ids: torch.Tensor
    num_tokens: int
    num_supervised: int

    def __call__(self, staged: Mapping[str, torch.Tensor]) -> Built:
        """Return the batch, or the tuple, on the device of the staged tensors."""
        tokens, extent = staged["tokens"], self.columns + self.shift
        lengths = staged["lengths"].long() if "lengths" in staged else _all_of(extent, tokens)
        real = (lengths - self.shift).clamp(min=0)[:, None]
        column = torch.arange(self.columns, device=lengths.device)[None]
        if self.left:
            column = column - (self.columns - real)
        inside = (column >= 0) & (column < real)
        source = (lengths.cumsum(0) - lengths)[:, None] + column
        input_ids = torch.where(inside, self._values(tokens, source, 0), self.pad_token_id)
        tensors = {"input_ids": input_ids}
        if not self.as_tuple:
            tensors["attention_mask"] = inside.long()
        if self.labels:
            targets = self._values(staged.get("labels", tokens), source, self.shift)
            if "runs" in staged:
                inside = inside & _inside_runs(staged["runs"], (len(lengths), extent))[:, self.shift :]
            tensors["labels"] = torch.where(inside, targets, self.unlabelled)
        if self.as_tuple:
            return tensors["input_ids"], tensors["labels"]
        return Batch(tensors, self.record_ids, self.num_tokens, self.num_supervised)

    def _values(self, values: torch.Tensor, source: torch.Tensor, ahead: int) -> torch.Tensor:
        """int64[B, T]: what each cell takes, `ahead` tokens after its own."""
        if values.dim() == 2:
            return _widen(values[:, ahead : ahead + self.columns])
        return _look_up(values, source + ahead)


class PacksBuild(NamedTuple):
    """Builds the batch of documents that `PackingCollator.stage` made travel.

    The staged arrays: `tokens` side by side; `documents: int32[3, D]`, for each document its first cell, its
    length and its number in its pack; `labels`, `runs` and `cu_seqlens` where there are any.

    Attributes:
        shape: The rows and columns of the batch, (B, T).
        pad_token_id: What padding holds in `input_ids`.
        ignore_index: What `labels` hold where there is no target.
        document_ids: Whether the batch has document ids.
        attention_mask: Whether the batch has an attention mask.
        kernel: The arguments of attention kernels by name: a number, or the name of a staged array.
        record_ids: See `Batch`.
        num_tokens: See `Batch`.
        num_supervised: See `Batch`.
    """

    shape: tuple[int, int]
    pad_token_id: int
    ignore_index: int
    document_ids: bool
    attention_mask: bool
    kernel: Mapping[str, int | str]
    record_ids: torch.Tensor
    num_tokens: int
    num_supervised: int

    def __call__(self, staged: Mapping[str, torch.Tensor]) -> Batch:
        """Return the batch on the device of the staged tensors."""
        begins, lengths, numbers = staged["documents"].long()
        cells = self.shape[0] * self.shape[1]
        cell = torch.arange(cells, device=begins.device)
        owner = (torch.searchsorted(begins, cell, right=True) - 1).clamp(min=0)  # of a gap: the document before
        within = cell - begins[owner]
        inside = (within >= 0) & (within < lengths[owner])
        source = (lengths.cumsum(0) - lengths)[owner] + within
        targeted = inside & (within != 0)
        if "runs" in staged:
            targeted &= _inside_runs(staged["runs"], (cells,))
        targets = _look_up(staged.get("labels", staged["tokens"]), source)
        tensors = {
            "input_ids": torch.where(inside, _look_up(staged["tokens"], source), self.pad_token_id),
            "labels": torch.where(targeted, targets, self.ignore_index),
            "position_ids": torch.where(inside, within, 0),
        }
        if self.document_ids:
            tensors["document_ids"] = torch.where(inside, numbers[owner], -1)
        if self.attention_mask:
            tensors["attention_mask"] = inside.long()
        held: dict[str, Any] = {name: tensor.view(self.shape) for name, tensor in tensors.items()}
        for name, value in self.kernel.items():
            held[name] = staged[value] if isinstance(value, str) else value
        return Batch(held, self.record_ids, self.num_tokens, self.num_supervised)


def _all_of(length: int, tokens: torch.Tensor) -> torch.Tensor:
    """int64[B]: rows in place that are all of one length."""
    return torch.full((len(tokens),), length, device=tokens.device)


def _look_up(values: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """int64: `values[source]`; what lies outside is padding, and whatever is read there is overwritten."""
    if len(values) == 0:
        return torch.zeros_like(source)
    return _widen(_signed(values)[source.clamp(0, len(values) - 1)], values.dtype)


def _widen(values: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """int64, of values whose dtype is or was `dtype`."""
    dtype = dtype or values.dtype
    if dtype not in _SIGNED:
        return values.long()
    return _signed(values).long() & _SIGNED[dtype][1]


def _signed(values: torch.Tensor) -> torch.Tensor:
    """The same bits: torch can index and convert signed integers on every device."""
    return values.view(_SIGNED[values.dtype][0]) if values.dtype in _SIGNED else values


def _inside_runs(runs: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Which cells lie in a run, bool of `shape`; `runs: int32[2, S]` holds their starts and stops."""
    cells = 1
    for size in shape:
        cells *= size
    edges = torch.zeros(cells + 1, dtype=torch.int32, device=runs.device)
    ones = torch.ones_like(runs[0])
    edges.index_add_(0, runs[0].long(), ones)
    edges.index_add_(0, runs[1].long(), ones, alpha=-1)
    return (edges[:-1].cumsum(0) > 0).view(shape)
