from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.device_kernels import expand_packs
from fastcollate.collate.inputs import check_choice, check_integer, flatten_rows, spans_of
from fastcollate.collate.kernels import inside_runs
from fastcollate.collate.staged import Allocator, Sources, Staged, cell_arrays, new_arrays, stage_arrays
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Packs, RaggedBatch, Rows

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

    def collate(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Batch:
        """Pack `rows` into arrays from `allocate`, such as pinned memory."""
        batch, packs = self._place(rows)
        tensors, supervised = self._fill(batch, packs, allocate)
        for name, value in self._kernel_arguments(batch, packs).items():
            tensors[name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        return Batch(tensors, *_about(batch, packs), supervised)

    def stage(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Staged:
        """Only the tokens of `rows`, in their own dtype, and what it takes to lay them out elsewhere.

        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        batch, packs = self._place(rows)
        nobody = np.zeros(1, np.int64)  # one document without tokens: all is gap
        documents = (packs.begins, batch.lengths, packs.numbers) if len(batch) else (nobody,) * 3
        sources: Sources = {"tokens": batch.tokens.joined(), "documents": documents}
        if "labels" in batch.columns:
            sources["labels"] = batch.columns["labels"].joined()
        kernel = self._kernel_arguments(batch, packs)
        arrays = {name: value for name, value in kernel.items() if isinstance(value, np.ndarray)}
        if arrays:
            sources["cu_seqlens"] = next(iter(arrays.values()))
        runs = self._runs(batch, packs)
        if runs is not None:
            sources["runs"] = runs
        build = partial(
            expand_packs,
            shape=(len(packs.used), packs.width),
            pad_token_id=self.pad_token_id,
            ignore_index=self.ignore_index,
            documents=self._numbers_documents,
            attention_mask=self.attention_mask,
            kernel={name: "cu_seqlens" if name in arrays else value for name, value in kernel.items()},
            about=(*_about(batch, packs), self._count(batch, packs, runs, None)),
        )
        return Staged(stage_arrays(sources, allocate), build)

    def _place(self, rows: RaggedBatch | Sequence[Any]) -> tuple[RaggedBatch, Packs]:
        batch = flatten_rows(rows)
        if self.layout == "flat":
            real = batch if batch.packs is not None else _without_fillers(batch)
            return real, Packs.of(real.lengths, np.array([0, len(real)]))
        if batch.packs is not None:
            return batch, batch.packs
        real = _without_fillers(batch)
        edges = np.minimum(np.arange(len(batch) + 1), len(real))  # a filler row is a pack without documents
        return real, Packs.of(real.lengths, edges, batch.width)

    def _fill(self, batch: RaggedBatch, packs: Packs, allocate: Allocator) -> tuple[dict[str, Any], int]:
        """The batch's tensors by name, int64[B, T] each, and how many labels count.

        What NumPy makes as a new array is left where it is.
        """
        shape, gaps, extents = (len(packs.used), packs.width), packs.gaps(), packs.extents()
        arrays = cell_arrays(allocate, ["input_ids", "labels", "position_ids"], shape)
        input_ids, labels, position_ids = (array.reshape(-1) for array in arrays.values())
        joined = _join(batch.tokens, gaps)
        input_ids[:] = joined
        labels[:] = _join(batch.columns["labels"], gaps) if "labels" in batch.columns else joined
        runs = self._runs(batch, packs)
        if runs is not None:
            labels[~inside_runs(*runs, len(labels))] = self.ignore_index
        labels[packs.begins] = self.ignore_index
        np.subtract(self._numbered(packs.cells), _repeated(packs.begins, extents, packs), out=position_ids)
        filled = [(input_ids, self.pad_token_id), (labels, self.ignore_index), (position_ids, 0)]
        if self._numbers_documents:
            numbers = _repeated(packs.numbers, extents, packs)
            arrays["document_ids"] = numbers.reshape(shape)
            filled.append((numbers, -1))
        if self.attention_mask:
            mask = np.ones(packs.cells, np.int64)
            arrays["attention_mask"] = mask.reshape(shape)
            filled.append((mask, 0))
        for start, stop, _ in gaps:  # few: packs are nearly full
            for array, value in filled:
                array[start:stop] = value
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return tensors, self._count(batch, packs, runs, labels)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        return frozenset({"labels", "spans"} if self.supervise == "response" else {"labels"})

    @property
    def _numbers_documents(self) -> bool:
        return self.layout == "rows" or self.keys == "plain"

    def _numbered(self, count: int) -> IntArray:
        """0 to `count`, kept for the next batch: most have the same size."""
        cells = self._cells
        if count > len(cells):
            cells = self._cells = np.arange(count)
        return cells[:count]

    def _runs(self, batch: RaggedBatch, packs: Packs) -> tuple[IntArray, IntArray] | None:
        """Which labels are targets, if not all are: where they start and stop, int64[S] each, in cells."""
        if self.supervise == "all":
            return None
        flat = spans_of(batch).to_ragged()
        owner = np.repeat(np.arange(len(batch)), flat.lengths // 2)
        cut = np.zeros(len(batch), np.int64) if batch.cuts is None else batch.cuts
        most, first = batch.lengths[owner], packs.begins[owner]
        starts, stops = (first + (flat.values[i::2].astype(np.int64) - cut[owner]).clip(0, most) for i in (0, 1))
        return starts, stops

    def _count(
        self,
        batch: RaggedBatch,
        packs: Packs,
        runs: tuple[IntArray, IntArray] | None,
        labels: IntArray | None,
    ) -> int:
        """The labels that count in the loss."""
        if (
            "labels" in batch.columns or self.ignore_index >= 0
        ):  # a token may have that value: the loss skips it too
            if labels is None:  # rare, and known only once the labels are there: make them
                return self._fill(batch, packs, new_arrays)[1]
            return int(np.count_nonzero(labels != self.ignore_index))
        if runs is None:
            return packs.tokens - len(batch)
        starts, stops = runs
        firsts = np.isin(starts[stops > starts], packs.begins)
        return int((stops - starts).sum()) - int(np.count_nonzero(firsts))

    def _kernel_arguments(self, batch: RaggedBatch, packs: Packs) -> dict[str, Any]:
        """Where documents begin and how long the longest is, under the names attention kernels read."""
        if self.layout == "rows":
            return {}
        begins = packs.begins if len(batch) else 0
        cu_seqlens = np.append(begins, packs.width).astype(np.int32)
        longest = int(batch.lengths.max(initial=1))
        if self.keys == "plain":
            return {"cu_seqlens": cu_seqlens, "max_seqlen": longest}
        names = {"cu_seq_lens_q": cu_seqlens, "cu_seq_lens_k": cu_seqlens}
        return {**names, "max_length_q": longest, "max_length_k": longest}


def _about(batch: RaggedBatch, packs: Packs) -> tuple[torch.Tensor, int]:
    """The record ids and the number of tokens of a batch."""
    return torch.from_numpy(batch.record_ids.copy()), packs.tokens


def _without_fillers(batch: RaggedBatch) -> RaggedBatch:
    """The rows that hold a record; filler rows follow them."""
    real = int(np.count_nonzero(batch.lengths))
    if real == len(batch):
        return batch
    columns = {name: _first_rows(column, real) for name, column in batch.columns.items()}
    return RaggedBatch(_first_rows(batch.tokens, real), batch.record_ids[:real], columns, batch.width)


def _first_rows(rows: Rows, count: int) -> Rows:
    return Rows(rows.values, rows.starts[:count], rows.lengths[:count])


def _repeated(values: IntArray, extents: IntArray, packs: Packs) -> IntArray:
    """int64[cells]: one value a document, in all cells of its extent."""
    return values.repeat(extents) if len(values) else np.zeros(packs.cells, np.int64)


def _join(documents: Rows, gaps: list[tuple[int, int, int]]) -> NDArray[Any]:
    """The values of all documents as they lie in the cells, one memcpy each; gaps hold zeros."""
    parts, dtype = documents.slices(), documents.values.dtype
    for start, stop, before in reversed(gaps):
        parts.insert(before, memoryview(bytes((stop - start) * dtype.itemsize)))
    return np.frombuffer(b"".join(parts), dtype)
