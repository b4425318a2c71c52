"""Padding on the device: the semantics of the NumPy kernels in vectorised torch, from staged arrays.

Tokens come side by side in their store's dtype, everything else as int32. No operation here makes the host wait
for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fastcollate.collate.batch import Batch
from fastcollate.collate.staged import Built

__all__ = ["expand_packs", "expand_rows"]

_SIGNED = {torch.uint16: (torch.int16, 0xFFFF), torch.uint32: (torch.int32, 0xFFFFFFFF)}


def expand_rows(
    staged: Mapping[str, torch.Tensor],
    *,
    columns: int,
    shift: int,
    left: bool,
    pad_token_id: int,
    unlabelled: int,
    labels: bool,
    as_tuple: bool,
    about: tuple[Any, ...],
) -> Built:
    """The batch of rows `tokens` with `lengths: int32[B]`, padded to `columns`; see `PaddingCollator`.

    The tokens lie side by side, or in place, `[B, columns + shift]`, with anything in the padding; rows whose
    lengths did not travel are all that long. Of the row [1 2 9] (its end token last), shift 1 and 3 columns:
    inputs [1 2 P], labels [2 9 -100].
    """
    tokens = staged["tokens"]
    in_place = tokens.dim() == 2
    lengths = staged["lengths"].long() if "lengths" in staged else _all_of(columns + shift, tokens)
    first = lengths.cumsum(0) - lengths
    real = (lengths - shift).clamp(min=0)[:, None]
    column = torch.arange(columns, device=lengths.device)[None]
    if left:
        column = column - (columns - real)
    inside = (column >= 0) & (column < real)
    source = first[:, None] + column

    def values_at(values: torch.Tensor, ahead: int) -> torch.Tensor:
        return _widen(values[:, ahead : ahead + columns]) if in_place else _look_up(values, source + ahead)

    input_ids = torch.where(inside, values_at(tokens, 0), pad_token_id)
    if not labels:
        return Batch({"input_ids": input_ids, "attention_mask": inside.long()}, *about)
    targets = torch.where(inside, values_at(staged.get("labels", tokens), shift), unlabelled)
    if "runs" in staged:
        shape = (len(lengths), columns + shift)
        targets = torch.where(_inside_runs(staged["runs"], shape)[:, shift:], targets, unlabelled)
    if as_tuple:
        return input_ids, targets
    return Batch({"input_ids": input_ids, "attention_mask": inside.long(), "labels": targets}, *about)


def expand_packs(
    staged: Mapping[str, torch.Tensor],
    *,
    shape: tuple[int, int],
    pad_token_id: int,
    ignore_index: int,
    documents: bool,
    attention_mask: bool,
    kernel: Mapping[str, Any],
    about: tuple[Any, ...],
) -> Batch:
    """The batch of documents `tokens`; see `PackingCollator`.

    `documents: int32[3, D]` holds for each document its first cell, its length and its number in its pack.
    `kernel` names what attention kernels read: a number, or a staged array.
    """
    begins, lengths, numbers = staged["documents"].long()
    cells = shape[0] * shape[1]
    cell = torch.arange(cells, device=begins.device)
    owner = (torch.searchsorted(begins, cell, right=True) - 1).clamp(min=0)  # of a gap: the document before
    within = cell - begins[owner]
    inside = (within >= 0) & (within < lengths[owner])
    source = (lengths.cumsum(0) - lengths)[owner] + within
    targeted = inside & (within != 0)
    if "runs" in staged:
        targeted &= _inside_runs(staged["runs"], (cells,))
    tensors = {
        "input_ids": torch.where(inside, _look_up(staged["tokens"], source), pad_token_id),
        "labels": torch.where(targeted, _look_up(staged.get("labels", staged["tokens"]), source), ignore_index),
        "position_ids": torch.where(inside, within, 0),
    }
    if documents:
        tensors["document_ids"] = torch.where(inside, numbers[owner], -1)
    if attention_mask:
        tensors["attention_mask"] = inside.long()
    shaped = {name: tensor.view(shape) for name, tensor in tensors.items()}
    read = {name: staged[value] if isinstance(value, str) else value for name, value in kernel.items()}
    return Batch({**shaped, **read}, *about)


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
