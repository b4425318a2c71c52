"""Padding on the device: the semantics of the NumPy kernels in vectorised torch, from staged arrays.

Tokens come side by side in their store's dtype, weights as float32, everything else as int32. No operation here
makes the host wait for the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.packed_rows.zigzag import Chunked
from fastcollate.collate.runs import WEIGHTS
from fastcollate.collate.staged import Built
from fastcollate.collate.views import FilledRows, Flat, array_views, row_views, shaped_views, weighed
from fastcollate.ragged import IntArray

__all__ = ["FilledPacks", "PacksBuild", "RowsBuild"]

_BOUNDARIES = ("cu_seqlens", "cu_seqlens_padded")
_SIGNED = {torch.uint16: (torch.int16, 0xFFFF), torch.uint32: (torch.int32, 0xFFFFFFFF)}


class RowsBuild(NamedTuple):
    """Builds the batches of rows that `PaddingCollator.stage` made travel.

    The staged arrays: `tokens` side by side; `rows: int32[2|3, R]`, for each row of all batches its first cell,
    the cell of its first token where that is another, and the length of its sequence, unless rows of one length
    fill all cells; `labels`, `runs` and their `weights` where there are any. Of the row [1 2 9] (its end token
    last), shift 1 and 3 columns: inputs [1 2 P], labels [2 9 -100].

    Attributes:
        filled: Gives the batches out.
        shift: 1 if labels are the next token, else 0.
        pad_token_id: What padding holds in `input_ids`.
        unlabelled: What `labels` hold at padding and at tokens that are no targets.
    """

    filled: FilledRows
    shift: int
    pad_token_id: int
    unlabelled: int

    def __call__(self, staged: Mapping[str, torch.Tensor]) -> list[Built]:
        """Return the batches, or the tuples, on the device of the staged tensors."""
        tokens, (names, rows, columns, *_) = staged["tokens"], self.filled
        cells = sum(count * width for count, width in zip(rows, columns, strict=True))
        cell = torch.arange(cells, device=tokens.device)
        if "rows" in staged:
            first, *_, lengths = staged["rows"].long()
            owner = torch.searchsorted(first, cell, right=True) - 1
            within = cell - staged["rows"][-2].long()[owner]
            inside = (within >= 0) & (within < (lengths - self.shift)[owner])
            source = (lengths.cumsum(0) - lengths)[owner] + within
        else:
            inside = torch.ones_like(cell, dtype=torch.bool)
            source = cell + cell // columns[0] * self.shift
        flat = {"input_ids": torch.where(inside, _look_up(tokens, source), self.pad_token_id)}
        if "attention_mask" in names:
            flat["attention_mask"] = inside.long()
        if "labels" in names:
            targets = _look_up(staged.get("labels", tokens), source + self.shift)
            if "runs" in staged:
                inside = inside & _inside_runs(staged["runs"], cells)
            flat["labels"] = torch.where(inside, targets, self.unlabelled)
        if "weights" in staged:
            flat[WEIGHTS] = _weights_in_runs(staged, cell).where(flat["labels"] != self.unlabelled, 0)
        return self.filled.of([shaped_views(flat[name], rows, columns) for name in names])


class PacksBuild(NamedTuple):
    """Builds the batches of documents that `PackingCollator.stage` made travel.

    The staged arrays: `tokens` side by side; `documents: int32[3, D]`, for each document of all batches its first
    cell, its length and its number in its row; `labels`, `runs` and their `weights`, `cu_seqlens` and
    `cu_seqlens_padded` where there are any.

    Attributes:
        rows: The rows of each batch.
        columns: The width of each batch.
        pad_token_id: What padding holds in `input_ids`.
        ignore_index: What `labels` hold where there is no target.
        document_ids: Whether the batches have document ids.
        attention_mask: Whether the batches have an attention mask.
        keys: Whose names the arguments of attention get, `"plain"` or `"transformers"`.
        documents: The documents of each batch.
        boundaries: The entries of `cu_seqlens` for each batch.
        chunked: How each batch can be split over ranks of context parallelism, where it can.
        longest: The most tokens that a document of each batch has.
        record_ids: The record of each document of all batches, int64[D].
        num_tokens: See `Batch`; of each batch.
        num_supervised: See `Batch`; of each batch.
        loss_weights: The `loss_weight` of each batch, where targets weigh otherwise than 1; else None.
    """

    rows: list[int]
    columns: list[int]
    pad_token_id: int
    ignore_index: int
    document_ids: bool
    attention_mask: bool
    keys: str
    documents: list[int]
    boundaries: list[int]
    chunked: Sequence[Chunked | None]
    longest: list[int]
    record_ids: IntArray
    num_tokens: list[int]
    num_supervised: list[int]
    loss_weights: list[float] | None = None

    def __call__(self, staged: Mapping[str, torch.Tensor]) -> list[Batch]:
        """Return the batches on the device of the staged tensors."""
        begins, lengths, numbers = staged["documents"].long()
        cells = sum(rows * width for rows, width in zip(self.rows, self.columns, strict=True))
        cell = torch.arange(cells, device=begins.device)
        owner = (torch.searchsorted(begins, cell, right=True) - 1).clamp(min=0)  # of a gap: the document before
        within = cell - begins[owner]
        inside = (within >= 0) & (within < lengths[owner])
        source = (lengths.cumsum(0) - lengths)[owner] + within
        targeted = inside & (within != 0)
        if "runs" in staged:
            targeted &= _inside_runs(staged["runs"], cells)
        targets = _look_up(staged.get("labels", staged["tokens"]), source)
        flat = {
            "input_ids": torch.where(inside, _look_up(staged["tokens"], source), self.pad_token_id),
            "labels": torch.where(targeted, targets, self.ignore_index),
            "position_ids": torch.where(inside, within, 0),
        }
        if "weights" in staged:
            flat[WEIGHTS] = _weights_in_runs(staged, cell).where(flat["labels"] != self.ignore_index, 0)
        if self.document_ids:
            flat["document_ids"] = torch.where(inside, numbers[owner], -1)
        if self.attention_mask:
            flat["attention_mask"] = inside.long()
        views = {name: shaped_views(tensor, self.rows, self.columns) for name, tensor in flat.items()}
        return self.batches(views, staged)

    def batches(
        self,
        views: Mapping[str, Sequence[torch.Tensor]],
        beside: Mapping[str, torch.Tensor] | Flat,
    ) -> list[Batch]:
        """Return the batches that have these tensors.

        Args:
            views: The tensors of each batch, by name.
            beside: `cu_seqlens` and `cu_seqlens_padded` where there are any: those of all batches side by side.
        """
        begins = {name: self._split(beside[name]) for name in _BOUNDARIES if name in beside}
        about = row_views(self.record_ids, self.documents), self.num_tokens, self.num_supervised
        made = [
            Batch(
                {**dict(zip(views, tensors, strict=True)), **self._arguments(begins, number)},
                ids,
                tokens,
                some,
                chunked=self.chunked[number],
            )
            for number, (tensors, ids, tokens, some) in enumerate(
                zip(zip(*views.values(), strict=True), *about, strict=True)
            )
        ]
        return weighed(made, self.loss_weights)

    def _split(self, cu_seqlens: torch.Tensor | NDArray[Any]) -> Sequence[torch.Tensor]:
        if isinstance(cu_seqlens, torch.Tensor):
            return [part.data for part in torch.split(cu_seqlens, self.boundaries)]
        return [torch.from_numpy(part) for part in np.split(cu_seqlens, np.cumsum(self.boundaries)[:-1])]

    def _arguments(self, begins: Mapping[str, Sequence[torch.Tensor]], number: int) -> dict[str, Any]:
        """What attention is told beside: of a flat batch where documents begin, and how long the longest is."""
        longest = self.longest[number]
        if self.keys == "plain":
            named: dict[str, Any] = {name: parts[number] for name, parts in begins.items()}
            return {**named, "max_seqlen": longest} if named else {}
        apart = {"use_cache": False}  # with a cache, which is the default, position_ids keep no documents apart
        if not begins:
            return apart
        cells = begins.get("cu_seqlens_padded", begins["cu_seqlens"])[number]  # this library knows of no padding
        names = {"cu_seq_lens_q": cells, "cu_seq_lens_k": cells}
        return {**apart, **names, "max_length_q": longest, "max_length_k": longest}


class FilledPacks(NamedTuple):
    """Gives out the batches of packs that `PackingCollator.fill` filled.

    Attributes:
        names: The tensors of a batch that have a value for each cell.
        build: Knows the shapes and all else about the batches.
    """

    names: Sequence[str]
    build: PacksBuild

    def batches(self, arrays: Flat) -> list[Batch]:
        """Return the batches that have these cells."""
        views = {name: array_views(arrays[name], self.build.rows, self.build.columns) for name in self.names}
        return self.build.batches(views, arrays)


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


def _inside_runs(runs: torch.Tensor, cells: int) -> torch.Tensor:
    """Which cells lie in a run, bool[cells]; `runs: int32[2, S]` holds their starts and stops."""
    edges = torch.zeros(cells + 1, dtype=torch.int32, device=runs.device)
    ones = torch.ones_like(runs[0])
    edges.index_add_(0, runs[0].long(), ones)
    edges.index_add_(0, runs[1].long(), ones, alpha=-1)
    return edges[:-1].cumsum(0) > 0


def _weights_in_runs(staged: Mapping[str, torch.Tensor], cell: torch.Tensor) -> torch.Tensor:
    """float32[cells]: what each cell of a run weighs; what lies outside is no target, and has any weight."""
    starts, weights = staged["runs"][0].long(), staged["weights"]
    if not len(weights):
        return torch.zeros(len(cell), dtype=torch.float32, device=cell.device)
    return weights[(torch.searchsorted(starts, cell, right=True) - 1).clamp(min=0)]
