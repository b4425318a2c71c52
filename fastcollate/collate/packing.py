from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.kernels import inside_runs
from fastcollate.collate.rows import check_choice, check_integer, flatten_rows, spans_of
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch, Rows

__all__ = ["PackingCollator"]

_CACHE_LINE = 64  # bytes


class _Placed(NamedTuple):
    """Documents laid end to end in `shape[0] * shape[1]` cells.

    Attributes:
        begins: int64[D], the first cell of each document.
        extents: int64[D], the cells from there to the next document, the gap after it (and before the first)
            included; what is true of a document is repeated over its extent, and the gaps then overwritten.
        document_ids: int64[D], numbered from 0 in each pack.
        gaps: (start, stop) of each stretch of padding.
    """

    begins: IntArray
    extents: IntArray
    document_ids: IntArray
    gaps: list[tuple[int, int]]
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
        self.pad_token_id = check_integer("pad_token_id", pad_token_id)
        self.layout = layout
        self.ignore_index = check_integer("ignore_index", ignore_index)
        self.supervise = supervise
        self.keys = keys
        self.attention_mask = attention_mask
        self._cells = np.arange(0)

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Batch:
        """Pack `rows`; see the class."""
        flat = flatten_rows(rows)
        flat = flat._replace(batch=_fillers_as_packs(flat.batch))
        batch = flat.batch
        placed = _place(batch, flat=self.layout == "flat")
        cells = self._numbered(placed.shape[0] * placed.shape[1])
        sources = _repeated(batch.starts - placed.begins, placed)
        sources += cells
        given = None if flat.labels is None else _read(flat.labels, sources)
        input_ids = sources  # fresh memory costs more than filling it: this is read for the last time here
        input_ids[:] = _read(batch.values, sources)
        _fill_gaps(placed, input_ids, self.pad_token_id)
        labels = self._labels(batch, placed, input_ids.copy() if given is None else given.astype(np.int64))
        tokens = len(input_ids) - sum(stop - start for start, stop in placed.gaps)
        supervised = tokens - len(batch)
        if self.supervise == "response" or flat.labels is not None or self.ignore_index >= 0:
            supervised = int(np.count_nonzero(labels != self.ignore_index))
        arrays = {"input_ids": input_ids, "labels": labels, **self._per_cell(placed, cells)}
        tensors = {name: torch.from_numpy(array.reshape(placed.shape)) for name, array in arrays.items()}
        kernel = self._kernel_arguments(batch, placed) if self.layout == "flat" else {}
        return Batch({**tensors, **kernel}, torch.from_numpy(batch.record_ids.copy()), tokens, supervised)

    def _numbered(self, count: int) -> IntArray:
        """0 to `count`, kept for the next batch: most have the same size."""
        cells = self._cells
        if count > len(cells):
            cells = self._cells = np.arange(count)
        return cells[:count]

    def _labels(self, batch: RaggedBatch, placed: _Placed, labels: IntArray) -> IntArray:
        """`labels` with what is no target ignored, in place."""
        if self.supervise == "response":
            labels[~_inside_spans(batch, placed)] = self.ignore_index
        labels[placed.begins] = self.ignore_index
        _fill_gaps(placed, labels, self.ignore_index)
        return labels

    def _per_cell(self, placed: _Placed, cells: IntArray) -> dict[str, IntArray]:
        """Positions, documents and the mask: int64[cells] each."""
        positions = _repeated(placed.begins, placed)
        np.subtract(cells, positions, out=positions)
        _fill_gaps(placed, positions, 0)
        found = {"position_ids": positions}
        if self.layout == "rows" or self.keys == "plain":
            documents = _repeated(placed.document_ids, placed)
            _fill_gaps(placed, documents, -1)
            found["document_ids"] = documents
        if self.attention_mask:
            found["attention_mask"] = (found["document_ids"] >= 0).astype(np.int64)
        return found

    def _kernel_arguments(self, batch: RaggedBatch, placed: _Placed) -> dict[str, Any]:
        """Where documents begin and how long the longest is, under the names attention kernels read."""
        begins = placed.begins if len(batch) else 0
        cu_seqlens = torch.from_numpy(np.append(begins, placed.shape[1]).astype(np.int32))
        longest = int(batch.lengths.max(initial=1))
        if self.keys == "plain":
            return {"cu_seqlens": cu_seqlens, "max_seqlen": longest}
        names = {"cu_seq_lens_q": cu_seqlens, "cu_seq_lens_k": cu_seqlens}
        return {**names, "max_length_q": longest, "max_length_k": longest}


def _fillers_as_packs(batch: RaggedBatch) -> RaggedBatch:
    """Filler rows of a batch without packs (they follow the real ones) become packs without documents."""
    if batch.packs is not None or (real := int(np.count_nonzero(batch.lengths))) == len(batch):
        return batch
    spans = batch.spans
    kept = RaggedBatch(
        batch.values,
        batch.starts[:real],
        batch.lengths[:real],
        record_ids=batch.record_ids[:real],
        spans=None if spans is None else Rows(spans.values, spans.starts[:real], spans.lengths[:real]),
        width=batch.width,
    )
    kept.packs = np.minimum(np.arange(len(batch) + 1), real)
    return kept


def _repeated(values: IntArray, placed: _Placed) -> IntArray:
    """int64[cells]: one value a document, in all cells of its extent."""
    if len(values) == 0:
        return np.zeros(placed.shape[0] * placed.shape[1], np.int64)
    return values.repeat(placed.extents)


def _read(values: NDArray[Any], sources: IntArray) -> NDArray[Any]:
    """The values at `sources: int64[cells]`; in gaps those may lie outside, and what is read is overwritten."""
    if len(values) == 0:
        return np.zeros(len(sources), values.dtype)
    # One value of each cache line first: these misses overlap, where those of the whole read would queue.
    values.take(sources[:: _CACHE_LINE // values.itemsize], mode="clip")
    return values.take(sources, mode="clip")


def _place(batch: RaggedBatch, *, flat: bool) -> _Placed:
    """Where each document goes: packs of lengths [3 2] [4] and width 6 begin at 0, 3 and 6.

    Their extents are [3 3 6], and the gaps are cells 5 to 6 and 10 to 12.
    """
    documents, lengths = np.arange(len(batch)), batch.lengths
    if flat:
        gaps = [] if len(batch) else [(0, 1)]  # a filler is one cell of padding
        ends = np.add.accumulate(lengths)
        return _Placed(ends - lengths, lengths, documents, gaps, (1, int(ends[-1]) if len(batch) else 1))
    edges = np.arange(len(batch) + 1) if batch.packs is None else batch.packs
    counts = edges[1:] - edges[:-1]
    rows = np.flatnonzero(counts)  # the packs that hold documents
    used: list[int] = np.add.reduceat(lengths, edges[rows]).tolist() if len(rows) else []
    width = max([1, *used]) if batch.width is None else batch.width
    if max(used, default=0) > width:
        raise CollateError(f"a pack has {max(used)} tokens but the plan fixed {width}: pack with PackedDataset")
    firsts = [row * width for row in [*rows.tolist(), len(counts)]]
    lead = firsts[0]
    free = [stop - start - count for start, stop, count in zip(firsts[:-1], firsts[1:], used, strict=True)]
    gaps = [(stop - gap, stop) for stop, gap in zip(firsts, [lead, *free], strict=True) if gap]
    extents = lengths.copy()
    extents[edges[rows + 1] - 1] += np.array(free, np.int64)
    begins = np.add.accumulate(extents) - extents
    if lead:
        begins += lead
        extents[:1] += lead
    return _Placed(begins, extents, documents - edges[:-1].repeat(counts), gaps, (len(counts), width))


def _fill_gaps(placed: _Placed, out: IntArray, value: int) -> None:
    """Padding is a few slices: packs are nearly full."""
    for start, stop in placed.gaps:
        out[start:stop] = value


def _inside_spans(batch: RaggedBatch, placed: _Placed) -> NDArray[np.bool_]:
    """bool[cells]: which cells lie in a span of their document."""
    flat = spans_of(batch).to_ragged()
    owner = np.repeat(np.arange(len(batch)), flat.lengths // 2)
    cut = np.zeros(len(batch), np.int64) if batch.cuts is None else batch.cuts
    most, first = batch.lengths[owner], placed.begins[owner]
    starts, stops = (first + (flat.values[i::2].astype(np.int64) - cut[owner]).clip(0, most) for i in (0, 1))
    return inside_runs(starts, stops, placed.shape[0] * placed.shape[1])
