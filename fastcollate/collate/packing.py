from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.rows import FlatRows, check_choice, flatten_rows, spans_of
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch, Rows

__all__ = ["PackingCollator"]


class _Placed(NamedTuple):
    """Documents laid end to end: where each begins (int64[D]), and the gaps after each pack.

    `document_ids` numbers the documents of each pack from 0; `gap_starts` and `gap_stops` are int64[P].
    """

    begins: IntArray
    document_ids: IntArray
    gap_starts: IntArray
    gap_stops: IntArray
    shape: tuple[int, int]


class PackingCollator:
    """Make one batch of packs: several documents in a row, none of which sees or predicts another.

    Args:
        pad_token_id: what is left of a pack holds.
        layout: `"rows"` is one row a pack; `"flat"` is one row in all, without padding.
        ignore_index: what labels hold at the first token of each document, on padding and where unsupervised.
        supervise: `"all"` tokens are targets, or only those of the `"response"` (the rows' spans).
        keys: of the flat layout's kernel arguments: `"plain"`, or those `"transformers"` gives flash attention.
        attention_mask: add a mask of the real tokens (rows layout).

    Called with what a `PackedDataset` yields, or with any rows `PaddingCollator` takes: then each row is a pack
    of one document, and the flat layout a padding-free batch. It returns a `Batch`: `input_ids`, `labels`
    (aligned: the model shifts), `position_ids` (from 0 in each document) and `document_ids` (-1 on padding), int64
    [B, T]; flat, int64[1, total] and with `cu_seqlens: int32[D+1]` and `max_seqlen` (an int). `record_ids` has one
    entry for each document.

    Raises:
        CollateError: arguments or rows that make no batch; the row is named.

    >>> batch = PackingCollator(0, layout="flat")([[5, 6, 7], [8, 9]])
    >>> batch["position_ids"], batch["cu_seqlens"], batch["max_seqlen"]
    (tensor([[0, 1, 2, 0, 1]]), tensor([0, 3, 5], dtype=torch.int32), 3)
    >>> batch["labels"]
    tensor([[-100,    6,    7, -100,    9]])
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        layout: Literal["rows", "flat"] = "rows",
        ignore_index: int = -100,
        supervise: Literal["all", "response"] = "all",
        keys: Literal["plain", "transformers"] = "plain",
        attention_mask: bool = False,
    ) -> None:
        check_choice("layout", layout, ("rows", "flat"))
        check_choice("supervise", supervise, ("all", "response"))
        check_choice("keys", keys, ("plain", "transformers"))
        if attention_mask and layout == "flat":
            raise CollateError('attention_mask=True is for layout="rows": a flat batch has no padding to mask')
        self.pad_token_id = pad_token_id
        self.layout = layout
        self.ignore_index = ignore_index
        self.supervise = supervise
        self.keys = keys
        self.attention_mask = attention_mask

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Batch:
        """Pack `rows`; see the class."""
        flat = flatten_rows(rows)
        batch = flat.batch
        placed = _place(batch, flat=self.layout == "flat")
        input_ids = np.empty(placed.shape[0] * placed.shape[1], np.int64)
        batch.copy_into(input_ids, placed.begins)
        _fill_gaps(placed, input_ids, self.pad_token_id)
        labels = self._labels(flat, placed, input_ids)
        tensors: dict[str, Any] = {"input_ids": input_ids, "labels": labels}
        tensors |= self._metadata(batch, placed)
        tokens = int(batch.lengths.sum())
        supervised = tokens - len(batch)
        if self.supervise == "response" or flat.labels is not None:
            supervised = int(np.count_nonzero(labels != self.ignore_index))
        named = {
            name: torch.from_numpy(value.reshape(placed.shape) if value.dtype == np.int64 else value)
            if isinstance(value, np.ndarray)
            else value
            for name, value in tensors.items()
        }
        return Batch(named, torch.from_numpy(batch.record_ids.copy()), tokens, supervised)

    def _labels(self, flat: FlatRows, placed: _Placed, input_ids: IntArray) -> IntArray:
        batch = flat.batch
        labels = input_ids.copy()
        if flat.labels is not None:
            Rows(flat.labels, batch.starts, batch.lengths).copy_into(labels, placed.begins)
        if self.supervise == "response":
            labels[~_inside_spans(batch, placed)] = self.ignore_index
        labels[placed.begins] = self.ignore_index
        _fill_gaps(placed, labels, self.ignore_index)
        return labels

    def _metadata(self, batch: RaggedBatch, placed: _Placed) -> dict[str, Any]:
        """Positions, documents and what attention kernels ask for, by name."""
        gaps = placed.gap_stops - placed.gap_starts
        edges = _edges(batch)[1:] if len(gaps) else np.zeros(0, np.int64)
        lengths = np.insert(batch.lengths, edges, gaps)
        starts = np.insert(placed.begins, edges, placed.gap_starts)
        positions = np.arange(placed.shape[0] * placed.shape[1]) - np.repeat(starts, lengths)
        _fill_gaps(placed, positions, 0)
        found: dict[str, Any] = {"position_ids": positions}
        if self.layout == "rows" or self.keys == "plain":
            found["document_ids"] = np.repeat(np.insert(placed.document_ids, edges, -1), lengths)
        if self.attention_mask:
            found["attention_mask"] = (found["document_ids"] >= 0).astype(np.int64)
        if self.layout == "flat":
            cu_seqlens = np.append(placed.begins if len(batch) else 0, placed.shape[1]).astype(np.int32)
            longest = int(batch.lengths.max(initial=1))
            names = ("cu_seqlens",) if self.keys == "plain" else ("cu_seq_lens_q", "cu_seq_lens_k")
            found |= dict.fromkeys(names, cu_seqlens)
            names = ("max_seqlen",) if self.keys == "plain" else ("max_length_q", "max_length_k")
            found |= dict.fromkeys(names, longest)
        return found


def _edges(batch: RaggedBatch) -> IntArray:
    """int64[P+1]: the documents of each pack; rows that come without packs are packs of one."""
    return np.arange(len(batch) + 1) if batch.packs is None else batch.packs


def _place(batch: RaggedBatch, *, flat: bool) -> _Placed:
    """Where each document goes: packs of lengths [3 2] [4] and width 5 begin at 0, 3 and 5, with gap [9, 10)."""
    ends = np.cumsum(batch.lengths)
    starts = ends - batch.lengths
    if flat:
        gap = np.arange(1 if len(batch) == 0 else 0)  # a filler is one cell of padding
        return _Placed(starts, np.arange(len(batch)), gap, gap + 1, (1, int(batch.lengths.sum()) + len(gap)))
    edges = _edges(batch)
    before = np.concatenate([[0], ends])[edges]
    used = np.diff(before)
    width = int(used.max(initial=1)) if batch.width is None else batch.width
    if int(used.max(initial=0)) > width:
        raise CollateError(f"a pack has {used.max()} tokens but the plan fixed {width}: pack with PackedDataset")
    row_starts = np.arange(len(used)) * width
    packs = np.repeat(np.arange(len(used)), np.diff(edges))
    return _Placed(
        starts - before[:-1][packs] + row_starts[packs],
        np.arange(len(batch)) - edges[:-1][packs],
        row_starts + used,
        row_starts + width,
        (len(used), width),
    )


def _fill_gaps(placed: _Placed, out: IntArray, value: int) -> None:
    """Padding is a few slices: packs are nearly full."""
    for start, stop in zip(placed.gap_starts.tolist(), placed.gap_stops.tolist(), strict=True):
        out[start:stop] = value


def _inside_spans(batch: RaggedBatch, placed: _Placed) -> NDArray[np.bool_]:
    """bool[cells]: which cells lie in a span of their document; see `mark_spans` for the running sum."""
    flat = spans_of(batch).to_ragged()
    owner = np.repeat(np.arange(len(batch)), flat.lengths // 2)
    cut = np.zeros(len(batch), np.int64) if batch.cuts is None else batch.cuts
    edges = np.zeros(placed.shape[0] * placed.shape[1] + 1, np.int8)
    for values, step in ((flat.values[::2], 1), (flat.values[1::2], -1)):
        inside = (values.astype(np.int64) - cut[owner]).clip(0, batch.lengths[owner])
        np.add.at(edges, inside + placed.begins[owner], step)
    return np.cumsum(edges[:-1], dtype=np.int8).astype(bool)
