from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.collate.batch import Batch
from fastcollate.collate.device_kernels import expand_rows
from fastcollate.collate.inputs import check_choice, check_integer, flatten_rows, spans_of
from fastcollate.collate.kernels import Target, join_sequences, mark_runs, place_rows, span_runs, take_rectangle
from fastcollate.collate.row_layout import RowLayout, Truncation, lay_out
from fastcollate.collate.staged import Allocator, Built, Sources, Staged, cell_arrays, new_arrays, stage_arrays
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch

__all__ = ["PaddingCollator", "padded_collate"]


class PaddingCollator:
    """Make rows of different lengths into one padded, masked batch.

    Args:
        pad_token_id: what padding holds in `input_ids`.
        ignore_index: what padding and unsupervised tokens hold in `labels`; None leaves the pad id there.
        end_token_id: appended to each row, for rows stored without one.
        max_length: the most columns; longer rows are cut as `truncation` says: `"right"` and `"left"` name
            the side that is cut, `"keep_end"` cuts on the right but keeps the last token, `"error"` refuses.
        padding_side: `"right"` or `"left"`.
        pad_to_multiple_of: round the width up, after `max_length`.
        shift_labels: False aligns labels with inputs (the model shifts); True makes next-token targets.
        supervise: `"all"` tokens are targets, or only those of the `"response"` (the rows' spans).
        labels: False makes no labels.
        as_tuple: return `(input_ids, labels)` instead of a `Batch`.

    Called with a list of rows (lists, arrays, tensors, or dicts with `input_ids` and optionally `labels`,
    `prompt_length` or `spans`) or a `RaggedBatch`, it returns a `Batch` with `input_ids`, `attention_mask`
    and `labels`, int64[B, T] each. What is padding is decided by lengths, never by a token's value. A filler
    row is all padding: its attention mask is zero and its labels are ignored.

    Raises:
        CollateError: arguments or rows that make no batch; the row is named.

    >>> batch = PaddingCollator(0)([[5, 6, 7], [8]])
    >>> batch["labels"]
    tensor([[   5,    6,    7],
            [   8, -100, -100]])
    >>> batch["input_ids"].dtype, batch.num_tokens, batch.num_supervised
    (torch.int64, 4, 2)
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        ignore_index: int | None = -100,
        end_token_id: int | None = None,
        max_length: int | None = None,
        truncation: Truncation = "right",
        padding_side: Literal["right", "left"] = "right",
        pad_to_multiple_of: int = 1,
        shift_labels: bool = False,
        supervise: Literal["all", "response"] = "all",
        labels: bool = True,
        as_tuple: bool = False,
    ) -> None:
        check_choice("truncation", truncation, ("right", "left", "keep_end", "error"))
        check_choice("padding_side", padding_side, ("right", "left"))
        check_choice("supervise", supervise, ("all", "response"))
        if as_tuple and not labels:
            raise CollateError("as_tuple=True returns (input_ids, labels): it needs labels=True")
        if supervise == "response" and ignore_index is None:
            raise CollateError('supervise="response" marks the prompt with ignore_index: it cannot be None')
        self.pad_token_id = check_integer("pad_token_id", pad_token_id)
        self.ignore_index = None if ignore_index is None else check_integer("ignore_index", ignore_index)
        self.end_token_id = None if end_token_id is None else check_integer("end_token_id", end_token_id)
        self.max_length = None if max_length is None else check_integer("max_length", max_length, 1)
        self.truncation: Truncation = truncation
        self.padding_side = padding_side
        self.pad_to_multiple_of = check_integer("pad_to_multiple_of", pad_to_multiple_of, 1)
        self.shift_labels = shift_labels
        self.supervise = supervise
        self.labels = labels
        self.as_tuple = as_tuple

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Built:
        """Pad `rows`; see the class."""
        return self.collate(rows, new_arrays)

    def collate(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Built:
        """Pad `rows` into arrays from `allocate`, such as pinned memory."""
        batch, layout = self._lay_out(rows)
        arrays, supervised = self._fill(batch, layout, allocate)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.as_tuple:
            return tensors["input_ids"], tensors["labels"]
        return Batch(tensors, torch.from_numpy(batch.record_ids.copy()), layout.tokens, supervised)

    def stage(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Staged:
        """Only the tokens of `rows`, in their own dtype, and what it takes to pad them elsewhere.

        Where at least nine tenths of the batch are tokens, they travel in place, `[B, T]`, else side by side;
        without lengths where every row is as long as the batch is wide.
        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        batch, layout = self._lay_out(rows)
        runs = self._runs(batch, layout)
        block = (
            take_rectangle(batch.tokens.values, layout)
            if layout.nearly_full and "labels" not in batch.columns
            else None
        )
        sources: Sources = {"tokens": join_sequences(batch.tokens.values, layout) if block is None else block}
        if self.labels and "labels" in batch.columns:
            given = batch.columns["labels"]
            sources["labels"] = join_sequences(given.values, layout.for_labels(given))
        if block is None or layout.shortest < layout.columns:
            sources["lengths"] = layout.sequences
        if runs is not None:
            sources["runs"] = runs
        ids = torch.from_numpy(batch.record_ids.copy())
        build = partial(
            expand_rows,
            columns=layout.columns,
            shift=layout.shift,
            left=layout.lead is not None,
            pad_token_id=self.pad_token_id,
            unlabelled=self._unlabelled,
            labels=self.labels,
            as_tuple=self.as_tuple,
            about=(ids, layout.tokens, self._count(batch, layout, runs, None)),
        )
        return Staged(stage_arrays(sources, allocate), build)

    def _lay_out(self, rows: RaggedBatch | Sequence[Any]) -> tuple[RaggedBatch, RowLayout]:
        batch = flatten_rows(rows)
        if batch.packs is not None:
            raise CollateError("the batch is packs of documents: collate it with a PackingCollator")
        return batch, lay_out(
            batch,
            shift=int(self.shift_labels),
            end_token_id=self.end_token_id,
            max_length=self.max_length,
            truncation=self.truncation,
            padding_side=self.padding_side,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        if not self.labels:
            return frozenset()
        return frozenset({"labels", "spans"} if self.supervise == "response" else {"labels"})

    @property
    def _unlabelled(self) -> int:
        return self.pad_token_id if self.ignore_index is None else self.ignore_index

    def _fill(
        self, batch: RaggedBatch, layout: RowLayout, allocate: Allocator
    ) -> tuple[dict[str, NDArray[np.int64]], int]:
        """The batch's arrays by name, and how many labels count."""
        names = ["input_ids", *([] if self.as_tuple else ["attention_mask"]), *(["labels"] if self.labels else [])]
        arrays = cell_arrays(allocate, names, (len(batch), layout.columns))
        targets = [Target(arrays["input_ids"], 0, self.pad_token_id)]
        labels = arrays.get("labels")
        labelled = [] if labels is None else [Target(labels, layout.shift, self._unlabelled)]
        if "labels" not in batch.columns:
            place_rows(batch.tokens.values, layout, targets + labelled, arrays.get("attention_mask"))
        else:
            place_rows(batch.tokens.values, layout, targets, arrays.get("attention_mask"))
            given = batch.columns["labels"]
            place_rows(given.values, layout.for_labels(given), labelled)
        runs = self._runs(batch, layout)
        if labels is not None and runs is not None:
            np.copyto(labels, self._unlabelled, where=~mark_runs(*runs, layout))
        return arrays, self._count(batch, layout, runs, labels)

    def _runs(self, batch: RaggedBatch, layout: RowLayout) -> tuple[IntArray, IntArray] | None:
        """Which labels are targets, if not all are."""
        if not self.labels or self.supervise == "all":
            return None
        return span_runs(spans_of(batch), layout)

    def _count(
        self,
        batch: RaggedBatch,
        layout: RowLayout,
        runs: tuple[IntArray, IntArray] | None,
        labels: IntArray | None,
    ) -> int:
        """The labels that count in the loss; the first column does not, unless labels are shifted already."""
        if not self.labels or self.ignore_index is None:
            return len(batch) * (layout.columns - 1 + layout.shift) if self.labels else 0
        if (
            "labels" in batch.columns or self.ignore_index >= 0
        ):  # a token may have that value: the loss skips it too
            if labels is None:  # rare, and known only once the labels are there: make them
                return self._fill(batch, layout, new_arrays)[1]
            return int(np.count_nonzero(labels[:, 1 - layout.shift :] != self.ignore_index))
        if runs is not None:
            starts, stops = runs
            at_first = (starts % (layout.columns + layout.shift) == 0) & (stops > starts)
            return int((stops - starts).sum()) - int(np.count_nonzero(at_first))
        return layout.tokens - (0 if layout.shift else layout.filled_first)


def padded_collate(
    batch: Sequence[Any],
    pad_token_id: int = 50256,
    ignore_index: int | None = -100,
    allowed_max_length: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """A `collate_fn` for any `DataLoader` over token lists: next-token `(inputs, targets)`, int64[B, T].

    One end token (`pad_token_id`) is appended to every row; targets are the inputs shifted by one, keep the
    first end token and hold `ignore_index` where there is padding; both are cut to `allowed_max_length`.

    Args:
        batch: rows as lists, arrays or tensors, which are left as they are.
        pad_token_id: the end token and the padding.
        ignore_index: what the loss skips.
        allowed_max_length: the most columns.
        device: where the tensors go; a worker process can only make CPU tensors.

    Raises:
        CollateError: rows that make no batch, or a CUDA device inside a worker process.

    >>> inputs, targets = padded_collate([[0, 1, 2], [5]])
    >>> targets
    tensor([[    1,     2, 50256],
            [50256,  -100,  -100]])
    """
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError):
        raise CollateError(f"device {device!r} is unknown to torch: name one such as 'cpu' or 'cuda:0'") from None
    if target.type == "cuda" and torch.utils.data.get_worker_info() is not None:
        raise CollateError(
            f"device={str(target)!r} inside a DataLoader worker: a forked process cannot use CUDA; collate on the "
            "CPU and move the batch in the training loop, or set num_workers=0"
        )
    collator = PaddingCollator(
        pad_token_id,
        ignore_index=ignore_index,
        end_token_id=pad_token_id,
        max_length=allowed_max_length,
        shift_labels=True,
        as_tuple=True,
    )
    pair = collator(batch)
    assert isinstance(pair, tuple)
    return pair[0].to(target), pair[1].to(target)
