from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from fastcollate.arguments import check_choices, check_count, check_counts, check_flags
from fastcollate.collate.batch import Batch
from fastcollate.collate.device_kernels import RowsBuild
from fastcollate.collate.inputs import read_rows
from fastcollate.collate.kernels import Target, join_sequences, place_rows, take_rectangle
from fastcollate.collate.row_layout import PaddingSide, RowLayout, Truncation, lay_out
from fastcollate.collate.runs import Runs, runs_of_rows
from fastcollate.collate.staged import Allocator, Built, Sources, Staged, new_arrays, stage_arrays
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch

__all__ = ["PaddingCollator"]


class PaddingCollator:
    """`PaddingCollator` makes rows of different lengths into one padded, masked batch.

    It is called with a list of rows (lists, arrays, tensors, or dicts with `input_ids`) or with a `RaggedBatch`,
    and returns a `Batch` with `input_ids`, `attention_mask` and `labels`, int64[B, T] each. Lengths decide what
    is padding, never a token's value.

    Rows that are dicts may say more, and all of it is honoured or refused by name: `labels` (-100: no target);
    `prompt_length` or `spans`, the supervised part; `completion_mask`, `assistant_masks` and `loss_mask`, 0 where
    a token is no target; `attention_mask`, 0 where the row is padded already; `position_ids` and `seq_lengths`,
    of one document only; `weights`, all 1. Other keys are ignored.

    A filler row is all padding: its attention mask is zero and its labels are ignored. A batch of nothing but
    filler rows has `num_supervised` 0, and the mean of `cross_entropy` over its targets is NaN: sum the losses
    and divide by the `num_supervised` of the whole step, or skip such a batch.

    Args:
        pad_token_id: The token id that padding holds in `input_ids`.
        ignore_index: The value that `labels` hold at padding and at tokens that are no targets, -100 by default;
            None leaves the pad id at padding, and allows no other way to mark a token.
        end_token_id: The token id appended to each row, for rows stored without one; by default none is.
        max_length: The most columns of a batch; by default rows are never cut.
        truncation: Which tokens of a row longer than `max_length` are lost: those at the `"right"` (default) or
            at the `"left"`, those before the last token (`"keep_end"`), or none: `"error"` refuses the row.
        padding_side: The side on which padding lies, `"right"` (default) or `"left"`.
        pad_to_multiple_of: The number that the width is rounded up to a multiple of, after `max_length`;
            1 by default.
        shift_labels: Whether `labels` are the next tokens; by default they are aligned with `input_ids`, and the
            model shifts.
        supervise: The tokens that are targets: `"all"` (default), or those of the `"response"` alone, which
            are the rows' spans and every appended end token.
        labels: Whether the batch has labels; True by default.
        as_tuple: Whether `(input_ids, labels)` is returned instead of a `Batch`; False by default.

    Raises:
        CollateError: Arguments or rows that make no batch; the argument or the row is named.

    >>> batch = PaddingCollator(0)([[5, 6, 7], [8]])
    >>> batch["labels"]
    tensor([[   5,    6,    7],
            [   8, -100, -100]])
    >>> batch["input_ids"].dtype, batch.num_tokens, batch.num_supervised
    (torch.int64, 4, 2)

    Of a row too long, `truncation` says what stays:

    >>> for truncation in ("right", "left", "keep_end"):
    ...     print(PaddingCollator(0, max_length=3, truncation=truncation)([[5, 6, 7, 8]])["input_ids"])
    tensor([[5, 6, 7]])
    tensor([[6, 7, 8]])
    tensor([[5, 6, 8]])
    >>> PaddingCollator(0, max_length=3, truncation="error")([[5, 6, 7, 8]])
    Traceback (most recent call last):
    fastcollate.errors.CollateError: row 0 has 4 tokens, more than the 3 that max_length leaves room for:
    choose a truncation or a longer max_length

    Of a row that knows its prompt, `supervise` says what is learned:

    >>> for supervise in ("all", "response"):
    ...     PaddingCollator(0, supervise=supervise)([{"input_ids": [5, 6, 7, 8], "prompt_length": 2}])["labels"]
    tensor([[5, 6, 7, 8]])
    tensor([[-100, -100,    7,    8]])
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        ignore_index: int | None = -100,
        end_token_id: int | None = None,
        max_length: int | None = None,
        truncation: Truncation = "right",
        padding_side: PaddingSide = "right",
        pad_to_multiple_of: int = 1,
        shift_labels: bool = False,
        supervise: Literal["all", "response"] = "all",
        labels: bool = True,
        as_tuple: bool = False,
    ) -> None:
        check_choices(
            error=CollateError,
            truncation=(truncation, get_args(Truncation)),
            padding_side=(padding_side, get_args(PaddingSide)),
            supervise=(supervise, ("all", "response")),
        )
        self.shift_labels, self.labels, self.as_tuple = check_flags(
            error=CollateError, shift_labels=shift_labels, labels=labels, as_tuple=as_tuple
        )
        if as_tuple and not labels:
            raise CollateError("as_tuple=True returns (input_ids, labels): it needs labels=True")
        if supervise == "response" and ignore_index is None:
            raise CollateError('supervise="response" marks the prompt with ignore_index: it cannot be None')
        self.pad_token_id, self.pad_to_multiple_of = check_counts(
            error=CollateError, pad_token_id=(pad_token_id, None), pad_to_multiple_of=(pad_to_multiple_of, 1)
        )
        self.ignore_index = _optional("ignore_index", ignore_index)
        self.end_token_id = _optional("end_token_id", end_token_id)
        self.max_length = _optional("max_length", max_length, 1)
        self.truncation: Truncation = truncation
        self.padding_side: PaddingSide = padding_side
        self.supervise = supervise

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Built:
        """Return the padded batch of `rows`; see the class."""
        return self.collate(rows, new_arrays)

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(arguments)})"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        if not self.labels:
            return frozenset()
        return frozenset({"labels", "spans"} if self.supervise == "response" else {"labels"})

    def collate(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Built:
        """Return the padded batch of `rows`, with tensors in arrays from `allocate`, such as pinned memory."""
        if self.as_tuple:
            return self.pair(rows, allocate)
        batch, layout = self._lay_out(rows)
        runs = self._runs(batch, layout)
        names = ["input_ids", "attention_mask", "labels"]
        arrays = self._fill(batch, layout, runs, names if self.labels else names[:2], allocate)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        supervised = self._num_supervised(batch, layout, runs)
        if supervised is None:
            supervised = self._count(arrays["labels"], layout)
        return Batch(tensors, torch.from_numpy(batch.record_ids.copy()), layout.num_tokens, supervised)

    def pair(
        self, rows: RaggedBatch | Sequence[Any], allocate: Allocator = new_arrays
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `(input_ids, labels)` of `rows`, whatever `as_tuple` says, in arrays from `allocate`."""
        batch, layout = self._lay_out(rows)
        arrays = self._fill(batch, layout, self._runs(batch, layout), ["input_ids", "labels"], allocate)
        return torch.from_numpy(arrays["input_ids"]), torch.from_numpy(arrays["labels"])

    def stage(self, rows: RaggedBatch | Sequence[Any], allocate: Allocator) -> Staged:
        """Return only the tokens of `rows`, in their own dtype, and what pads them elsewhere.

        If at most a tenth of the batch is padding, the padded rectangle `[B, T]` travels as it is; otherwise only
        the tokens, side by side. Row lengths travel too, unless all rows fill the full width.
        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        batch, layout = self._lay_out(rows)
        runs = self._runs(batch, layout)
        labels = batch.columns.get("labels") if self.labels else None
        block = take_rectangle(batch.tokens.values, layout) if layout.nearly_full and labels is None else None
        sources: Sources = {"tokens": join_sequences(batch.tokens, layout) if block is None else block}
        if labels is not None:
            sources["labels"] = join_sequences(labels, layout.for_labels(labels))
        if block is None or layout.shortest < layout.columns:
            sources["lengths"] = layout.sequences
        if runs is not None:
            sources["runs"] = (runs.starts, runs.stops)
        supervised = self._num_supervised(batch, layout, runs)
        if supervised is None:
            supervised = self._count(self._fill(batch, layout, runs, ["labels"], new_arrays)["labels"], layout)
        build = RowsBuild(
            columns=layout.columns,
            shift=layout.shift,
            left=layout.lead is not None,
            pad_token_id=self.pad_token_id,
            unlabelled=self._unlabelled,
            labels=self.labels,
            as_tuple=self.as_tuple,
            record_ids=torch.from_numpy(batch.record_ids.copy()),
            num_tokens=layout.num_tokens,
            num_supervised=supervised,
        )
        return Staged(stage_arrays(sources, allocate), build)

    def _lay_out(self, rows: RaggedBatch | Sequence[Any]) -> tuple[RaggedBatch, RowLayout]:
        marked = self.ignore_index if self.labels else self._unlabelled  # without labels there is nothing to mark
        batch = read_rows(rows, ignore_index=marked, packs=False)
        return batch, lay_out(
            batch,
            shift=int(self.shift_labels),
            end_token_id=self.end_token_id,
            max_length=self.max_length,
            truncation=self.truncation,
            padding_side=self.padding_side,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )

    def _runs(self, batch: RaggedBatch, layout: RowLayout) -> Runs | None:
        """Which labels are targets, if not all are."""
        return None if self.supervise == "all" or not self.labels else runs_of_rows(batch, layout)

    @property
    def _unlabelled(self) -> int:
        return self.pad_token_id if self.ignore_index is None else self.ignore_index

    def _fill(
        self, batch: RaggedBatch, layout: RowLayout, runs: Runs | None, names: list[str], allocate: Allocator
    ) -> dict[str, IntArray]:
        """The batch's arrays of these names."""
        arrays = allocate(dict.fromkeys(names, ((len(layout.counts), layout.columns), np.int64)))
        labels, given = arrays.get("labels"), batch.columns.get("labels")
        targets = [Target(arrays["input_ids"], 0, self.pad_token_id)] if "input_ids" in arrays else []
        labelled = [] if labels is None else [Target(labels, layout.shift, self._unlabelled)]
        if given is None:
            targets += labelled
        elif labelled:
            place_rows(given.values, layout.for_labels(given), labelled)
        place_rows(batch.tokens.values, layout, targets, arrays.get("attention_mask"))
        if labels is not None and runs is not None:
            inside = runs.inside(len(labels) * (layout.columns + layout.shift)).reshape(len(labels), -1)
            np.copyto(labels, self._unlabelled, where=~inside[:, layout.shift :])
        return arrays

    def _num_supervised(self, batch: RaggedBatch, layout: RowLayout, runs: Runs | None) -> int | None:
        """The labels that count in the loss; None if only the labels can tell."""
        if not self.labels:
            return 0
        if self.ignore_index is None:
            return len(layout.counts) * (layout.columns - 1 + layout.shift)
        if "labels" in batch.columns or self.ignore_index >= 0:
            return None  # a token may have the value that the loss skips
        if runs is not None:
            return runs.num_supervised
        return layout.num_tokens - (0 if layout.shift else layout.filled_first())

    def _count(self, labels: IntArray, layout: RowLayout) -> int:
        """The labels that count in the loss; the first column does not, unless labels are shifted already."""
        return int(np.count_nonzero(labels[:, 1 - layout.shift :] != self.ignore_index))


def _optional(name: str, value: int | None, least: int | None = None) -> int | None:
    return None if value is None else check_count(name, value, least, error=CollateError)
