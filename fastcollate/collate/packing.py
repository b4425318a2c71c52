from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.arguments import check_choices, check_counts, check_flag
from fastcollate.collate.batch import Batch
from fastcollate.collate.device_kernels import PacksBuild
from fastcollate.collate.inputs import read_rows
from fastcollate.collate.runs import Runs, runs_of_packs
from fastcollate.collate.staged import Allocator, Sources, Staged, new_arrays, stage_arrays
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Packs, RaggedBatch, Rows

__all__ = ["PackingCollator"]

PackLayout = Literal["rows", "flat"]
Gap = tuple[int, int, int]  # its first cell, the cell after it, and how many documents come before


class PackingCollator:
    """`PackingCollator` makes one batch of packs: several documents in a row, none of which predicts another.

    It is called with what a `PackedDataset` yields, or with any rows that `PaddingCollator` takes: each row is
    then a pack of one document, or of those that its `position_ids` (which begin again at 0) or `seq_lengths`
    tell apart. It returns a `Batch`: `input_ids`, `labels` (aligned: the model shifts), `position_ids` (from 0 in
    each document) and `document_ids` (counted in each row, -1 on padding), int64[B, T] each. `record_ids` has one
    entry for each document.

    The documents of a row are kept apart by the attention of the model: give it a mask made of `document_ids`, or
    the flat layout's `cu_seqlens: int32[D+1]` and `max_seqlen` (an int).

    Args:
        pad_token_id: The token id that cells without a token hold in `input_ids`.
        layout: The shape of the batch: `"rows"` (default) makes a row of each pack; `"flat"` makes one row of all
            documents, without padding, int64[1, total].
        ignore_index: The value that `labels` hold at the first token of each document, at padding and at tokens
            that are no targets; -100 by default.
        supervise: The tokens that are targets: `"all"` (default), or those of the `"response"` alone, which
            are the rows' spans.
        keys: The names of the flat layout's kernel arguments: `"plain"` (default) names them `cu_seqlens` and
            `max_seqlen`; `"transformers"` names them as that library gives them to flash attention, and leaves
            out `document_ids`.
        attention_mask: Whether a batch of rows has a mask of the real tokens; False by default.

    Raises:
        CollateError: Arguments or rows that make no batch; the argument or the row is named.

    The layout `"rows"` pads, and numbers the documents of each row:

    >>> rows = [{"input_ids": [5, 6, 7, 8, 9], "seq_lengths": [3, 2]}, {"input_ids": [4], "seq_lengths": [1]}]
    >>> batch = PackingCollator(0)(rows)
    >>> batch["input_ids"], batch["document_ids"]
    (tensor([[5, 6, 7, 8, 9],
            [4, 0, 0, 0, 0]]), tensor([[ 0,  0,  0,  1,  1],
            [ 0, -1, -1, -1, -1]]))

    The layout `"flat"` joins all documents, and says where each begins:

    >>> batch = PackingCollator(0, layout="flat")(rows)
    >>> batch["position_ids"], batch["cu_seqlens"], batch["max_seqlen"]
    (tensor([[0, 1, 2, 0, 1, 0]]), tensor([0, 3, 5, 6], dtype=torch.int32), 3)
    >>> batch["labels"]
    tensor([[-100,    6,    7, -100,    9, -100]])

    With `supervise="response"` only tokens inside the rows' spans are targets:

    >>> PackingCollator(0, supervise="response")([{"input_ids": [5, 6, 7, 8], "prompt_length": 2}])["labels"]
    tensor([[-100, -100,    7,    8]])
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        layout: PackLayout = "rows",
        ignore_index: int = -100,
        supervise: Literal["all", "response"] = "all",
        keys: Literal["plain", "transformers"] = "plain",
        attention_mask: bool = False,
    ) -> None:
        check_choices(
            error=CollateError,
            layout=(layout, get_args(PackLayout)),
            supervise=(supervise, ("all", "response")),
            keys=(keys, ("plain", "transformers")),
        )
        self.attention_mask = check_flag("attention_mask", attention_mask, error=CollateError)
        if attention_mask and layout == "flat":
            raise CollateError('attention_mask=True is for layout="rows": a flat batch has no padding to mask')
        self.pad_token_id, self.ignore_index = check_counts(
            error=CollateError, pad_token_id=(pad_token_id, None), ignore_index=(ignore_index, None)
        )
        self.layout = layout
        self.supervise = supervise
        self.keys = keys
        self._cells = np.arange(0)

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Batch:
        """Return the packed batch of `rows`; see the class."""
        return self.collate(rows, new_arrays)

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(arguments)})"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        return frozenset({"labels", "spans"} if self.supervise == "response" else {"labels"})

    def collate(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Batch:
        """Return the packed batch of `rows`, with tensors in arrays from `allocate`, such as pinned memory.

        What NumPy makes as a new array is left where it is.
        """
        batch, packs = self._place(rows)
        runs, gaps, shape = self._runs(batch, packs), packs.gaps(), (len(packs.used), packs.width)
        arrays = allocate(dict.fromkeys(("input_ids", "labels", "position_ids"), (shape, np.int64)))
        tokens, given = _join(batch.tokens, gaps), batch.columns.get("labels")
        input_ids, labels = arrays["input_ids"].reshape(-1), arrays["labels"].reshape(-1)
        input_ids[:] = tokens
        _fill_gaps(input_ids, gaps, self.pad_token_id)
        self._write_labels(labels, tokens if given is None else _join(given, gaps), packs, runs, gaps)
        beside = self._describe_cells(arrays["position_ids"].reshape(-1), packs, gaps)
        tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        tensors |= {name: torch.from_numpy(array.reshape(shape)) for name, array in beside.items()}
        for name, value in self._kernel_arguments(batch, packs).items():
            tensors[name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        num_tokens = packs.tokens
        supervised = self._num_supervised(batch, num_tokens, runs)
        if supervised is None:
            supervised = int(np.count_nonzero(labels != self.ignore_index))
        return Batch(tensors, torch.from_numpy(batch.record_ids.copy()), num_tokens, supervised)

    def stage(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Staged:
        """Return only the tokens of `rows`, in their own dtype, and what lays them out elsewhere.

        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        batch, packs = self._place(rows)
        runs, given = self._runs(batch, packs), batch.columns.get("labels")
        nobody = np.zeros(1, np.int64)  # one document without tokens: all is gap
        documents = (packs.begins, batch.lengths, packs.numbers) if len(batch) else (nobody,) * 3
        sources: Sources = {"tokens": batch.tokens.joined(), "documents": documents}
        if given is not None:
            sources["labels"] = given.joined()
        if runs is not None:
            sources["runs"] = (runs.starts, runs.stops)
        kernel: dict[str, int | str] = {}
        for name, value in self._kernel_arguments(batch, packs).items():
            if isinstance(value, np.ndarray):
                sources["cu_seqlens"] = value
            kernel[name] = value if isinstance(value, int) else "cu_seqlens"
        supervised = self._num_supervised(batch, packs.tokens, runs)
        if supervised is None:  # rare, and known only once the labels are there: make them
            gaps, labels = packs.gaps(), np.empty(packs.cells, np.int64)
            self._write_labels(labels, _join(batch.tokens if given is None else given, gaps), packs, runs, gaps)
            supervised = int(np.count_nonzero(labels != self.ignore_index))
        build = PacksBuild(
            shape=(len(packs.used), packs.width),
            pad_token_id=self.pad_token_id,
            ignore_index=self.ignore_index,
            document_ids=self._has_document_ids,
            attention_mask=self.attention_mask,
            kernel=kernel,
            record_ids=torch.from_numpy(batch.record_ids.copy()),
            num_tokens=packs.tokens,
            num_supervised=supervised,
        )
        return Staged(stage_arrays(sources, allocate), build)

    def _place(self, rows: RaggedBatch | Sequence[Any]) -> tuple[RaggedBatch, Packs]:
        """The documents of a batch, without filler rows, and where in it each lies."""
        batch = read_rows(rows, ignore_index=self.ignore_index, packs=True)
        packs = batch.packs
        if packs is not None and self.layout == "rows":
            return batch, packs
        real = batch if packs is not None else _without_fillers(batch)
        lengths = real.tokens.lengths
        if self.layout == "flat":
            return real, Packs.of(lengths, np.array([0, len(lengths)]))
        edges = np.minimum(np.arange(len(batch) + 1), len(lengths))  # a filler row is a pack without documents
        return real, Packs.of(lengths, edges, batch.width)

    def _runs(self, batch: RaggedBatch, packs: Packs) -> Runs | None:
        """Which labels are targets, if not all are."""
        return None if self.supervise == "all" else runs_of_packs(batch, packs)

    def _write_labels(
        self, labels: IntArray, values: NDArray[Any], packs: Packs, runs: Runs | None, gaps: list[Gap]
    ) -> None:
        """Write `values`, a label for each cell, where there is a target, and `ignore_index` elsewhere."""
        labels[:] = values
        if runs is not None:
            labels[~runs.inside(len(labels))] = self.ignore_index
        labels[packs.begins] = self.ignore_index
        _fill_gaps(labels, gaps, self.ignore_index)

    def _describe_cells(self, position_ids: IntArray, packs: Packs, gaps: list[Gap]) -> dict[str, IntArray]:
        """Write the position of each cell in its document, and return what else is known of it, by name."""
        extents, cells = packs.extents(), len(position_ids)
        if cells > len(self._cells):  # kept for the next batch: most have the same size
            self._cells = np.arange(cells)
        np.subtract(self._cells[:cells], _repeated(packs.begins, extents, cells), out=position_ids)
        _fill_gaps(position_ids, gaps, 0)
        beside = {}
        if self._has_document_ids:
            beside["document_ids"] = _repeated(packs.numbers, extents, cells)
            _fill_gaps(beside["document_ids"], gaps, -1)
        if self.attention_mask:
            beside["attention_mask"] = np.ones(cells, np.int64)
            _fill_gaps(beside["attention_mask"], gaps, 0)
        return beside

    @property
    def _has_document_ids(self) -> bool:
        return self.layout == "rows" or self.keys == "plain"

    def _num_supervised(self, batch: RaggedBatch, num_tokens: int, runs: Runs | None) -> int | None:
        """The labels that count in the loss; None if only the labels can tell."""
        if "labels" in batch.columns or self.ignore_index >= 0:
            return None  # a token may have the value that the loss skips
        return num_tokens - len(batch.record_ids) if runs is None else runs.num_supervised

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


def _without_fillers(batch: RaggedBatch) -> RaggedBatch:
    """The rows that hold a record; filler rows follow them."""
    real = int(np.count_nonzero(batch.tokens.lengths))
    if real == len(batch.tokens.lengths):
        return batch

    def first(rows: Rows) -> Rows:
        return Rows(rows.values, rows.starts[:real], rows.lengths[:real])

    columns = {name: first(rows) for name, rows in batch.columns.items()}
    cuts = None if batch.cuts is None else batch.cuts[:real]
    return RaggedBatch(first(batch.tokens), batch.record_ids[:real], columns, batch.width, cuts=cuts)


def _repeated(values: IntArray, extents: IntArray, cells: int) -> IntArray:
    """int64[cells]: one value a document, in all cells of its extent."""
    return values.repeat(extents) if len(values) else np.zeros(cells, np.int64)


def _fill_gaps(array: IntArray, gaps: list[Gap], value: int) -> None:
    for start, stop, _ in gaps:  # few: packs are nearly full
        array[start:stop] = value


def _join(documents: Rows, gaps: list[Gap]) -> NDArray[Any]:
    """The values of all documents as they lie in the cells, one memcpy each; gaps hold zeros."""
    parts, dtype = documents.slices(), documents.values.dtype
    for start, stop, before in reversed(gaps):
        parts.insert(before, memoryview(bytes((stop - start) * dtype.itemsize)))
    return np.frombuffer(b"".join(parts), dtype)
