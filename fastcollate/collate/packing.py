from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.expand import expand_packs
from fastcollate.collate.kernels import inside_runs
from fastcollate.collate.placing import Placed, place_documents
from fastcollate.collate.rows import FlatRows, check_choice, check_integer, flatten_rows, spans_of
from fastcollate.collate.staged import Allocate, Staged, cell_arrays, new_arrays, stage_arrays
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Rows
from fastcollate.ragged_batch import RaggedBatch

__all__ = ["PackingCollator"]


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
        return self.collate(rows, new_arrays)

    def collate(self, rows: RaggedBatch | Sequence[Any], allocate: Allocate) -> Batch:
        """Pack `rows` into arrays from `allocate`, such as pinned memory."""
        flat, placed = self._place(rows)
        arrays, supervised = self._fill(flat, placed, allocate)
        tensors = {name: torch.from_numpy(array.reshape(placed.shape)) for name, array in arrays.items()}
        kernel = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in self._kernel_arguments(flat.batch, placed).items()
        }
        return Batch({**tensors, **kernel}, *_about(flat.batch, placed), supervised)

    def stage(self, rows: RaggedBatch | Sequence[Any], allocate: Allocate) -> Staged:
        """Only the tokens of `rows`, in their own dtype, and what it takes to lay them out elsewhere.

        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        flat, placed = self._place(rows)
        batch, cells = flat.batch, placed.shape[0] * placed.shape[1]
        sources = {"tokens": batch.joined()}
        if flat.labels is not None:
            sources["labels"] = Rows(flat.labels, batch.starts, batch.lengths).joined()
        documents = [placed.begins, placed.extents, batch.lengths, placed.document_ids]
        nobody = [np.array([value]) for value in (0, cells, 0, 0)]  # one document without tokens, all of it a gap
        sources["documents"] = np.stack(documents if len(batch) else nobody)
        kernel = self._kernel_arguments(batch, placed)
        arrays = {name: value for name, value in kernel.items() if isinstance(value, np.ndarray)}
        if arrays:
            sources["cu_seqlens"] = next(iter(arrays.values()))
        runs = self._runs(batch, placed)
        if runs is not None:
            sources["runs"] = np.stack(runs)
        build = partial(
            expand_packs,
            shape=placed.shape,
            pad_token_id=self.pad_token_id,
            ignore_index=self.ignore_index,
            documents=self._numbers_documents,
            attention_mask=self.attention_mask,
            kernel={name: "cu_seqlens" if name in arrays else value for name, value in kernel.items()},
            about=(*_about(batch, placed), self._count(flat, placed, runs, None)),
        )
        return Staged(stage_arrays(sources, allocate), build)

    def _place(self, rows: RaggedBatch | Sequence[Any]) -> tuple[FlatRows, Placed]:
        flat = flatten_rows(rows)
        flat = flat._replace(batch=_fillers_as_packs(flat.batch))
        return flat, place_documents(flat.batch, flat=self.layout == "flat")

    def _fill(
        self, flat: FlatRows, placed: Placed, allocate: Allocate
    ) -> tuple[dict[str, NDArray[np.int64]], int]:
        """The batch's arrays by name, int64[cells] each, and how many labels count."""
        names = ["input_ids", "labels", "position_ids"]
        names += ["document_ids"] * self._numbers_documents + ["attention_mask"] * self.attention_mask
        cells = self._numbered(placed.shape[0] * placed.shape[1])
        arrays = cell_arrays(allocate, names, cells.shape)
        joined = _join(flat.batch.values, flat.batch, placed)
        arrays["input_ids"][:] = joined
        _fill_gaps(placed, arrays["input_ids"], self.pad_token_id)
        labels, runs = arrays["labels"], self._runs(flat.batch, placed)
        labels[:] = joined if flat.labels is None else _join(flat.labels, flat.batch, placed)
        if runs is not None:
            labels[~inside_runs(*runs, len(labels))] = self.ignore_index
        labels[placed.begins] = self.ignore_index
        _fill_gaps(placed, labels, self.ignore_index)
        np.subtract(cells, _repeated(placed.begins, placed), out=arrays["position_ids"])
        _fill_gaps(placed, arrays["position_ids"], 0)
        if "document_ids" in arrays:
            arrays["document_ids"][:] = _repeated(placed.document_ids, placed)
            _fill_gaps(placed, arrays["document_ids"], -1)
        if "attention_mask" in arrays:
            np.greater_equal(arrays["document_ids"], 0, out=arrays["attention_mask"], casting="unsafe")
        return arrays, self._count(flat, placed, runs, labels)

    @property
    def _numbers_documents(self) -> bool:
        return self.layout == "rows" or self.keys == "plain"

    def _numbered(self, count: int) -> IntArray:
        """0 to `count`, kept for the next batch: most have the same size."""
        cells = self._cells
        if count > len(cells):
            cells = self._cells = np.arange(count)
        return cells[:count]

    def _runs(self, batch: RaggedBatch, placed: Placed) -> tuple[IntArray, IntArray] | None:
        """Which labels are targets, if not all are: where they start and stop, int64[S] each, in cells."""
        if self.supervise == "all":
            return None
        flat = spans_of(batch).to_ragged()
        owner = np.repeat(np.arange(len(batch)), flat.lengths // 2)
        cut = np.zeros(len(batch), np.int64) if batch.cuts is None else batch.cuts
        most, first = batch.lengths[owner], placed.begins[owner]
        starts, stops = (first + (flat.values[i::2].astype(np.int64) - cut[owner]).clip(0, most) for i in (0, 1))
        return starts, stops

    def _count(
        self,
        flat: FlatRows,
        placed: Placed,
        runs: tuple[IntArray, IntArray] | None,
        labels: IntArray | None,
    ) -> int:
        """The labels that count in the loss."""
        if flat.labels is not None or self.ignore_index >= 0:  # a token may have that value: the loss skips it too
            if labels is None:  # rare, and known only once the labels are there: make them
                return self._fill(flat, placed, new_arrays)[1]
            return int(np.count_nonzero(labels != self.ignore_index))
        if runs is None:
            return placed.tokens - len(flat.batch)
        starts, stops = runs
        firsts = np.isin(starts[stops > starts], placed.begins)
        return int((stops - starts).sum()) - int(np.count_nonzero(firsts))

    def _kernel_arguments(self, batch: RaggedBatch, placed: Placed) -> dict[str, Any]:
        """Where documents begin and how long the longest is, under the names attention kernels read."""
        if self.layout == "rows":
            return {}
        begins = placed.begins if len(batch) else 0
        cu_seqlens = np.append(begins, placed.shape[1]).astype(np.int32)
        longest = int(batch.lengths.max(initial=1))
        if self.keys == "plain":
            return {"cu_seqlens": cu_seqlens, "max_seqlen": longest}
        names = {"cu_seq_lens_q": cu_seqlens, "cu_seq_lens_k": cu_seqlens}
        return {**names, "max_length_q": longest, "max_length_k": longest}


def _about(batch: RaggedBatch, placed: Placed) -> tuple[torch.Tensor, int]:
    """The record ids and the number of tokens of a batch."""
    return torch.from_numpy(batch.record_ids.copy()), placed.tokens


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


def _repeated(values: IntArray, placed: Placed) -> IntArray:
    """int64[cells]: one value a document, in all cells of its extent."""
    if len(values) == 0:
        return np.zeros(placed.shape[0] * placed.shape[1], np.int64)
    return values.repeat(placed.extents)


def _join(values: NDArray[Any], batch: RaggedBatch, placed: Placed) -> NDArray[Any]:
    """The values of all documents as they lie in the cells, one memcpy each; gaps hold zeros."""
    parts = Rows(values, batch.starts, batch.lengths).slices()
    for (start, stop), document in zip(reversed(placed.gaps), reversed(placed.before_gaps), strict=True):
        parts.insert(document, memoryview(bytes((stop - start) * values.itemsize)))
    return np.frombuffer(b"".join(parts), values.dtype)


def _fill_gaps(placed: Placed, out: IntArray, value: int) -> None:
    """Padding is a few slices: packs are nearly full."""
    for start, stop in placed.gaps:
        out[start:stop] = value
