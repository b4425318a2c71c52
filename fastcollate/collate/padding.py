from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from fastcollate.collate.batch import Batch
from fastcollate.collate.kernels import Target, mark_spans, place_rows
from fastcollate.collate.layout import RowLayout, Truncation, lay_out
from fastcollate.collate.rows import FlatRows, check_choice, check_integer, flatten_rows, spans_of
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

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Batch | tuple[torch.Tensor, torch.Tensor]:
        """Pad `rows`; see the class."""
        flat = flatten_rows(rows)
        if flat.batch.packs is not None:
            raise CollateError("the batch is packs of documents: collate it with a PackingCollator")
        layout = lay_out(
            flat.batch,
            shift=int(self.shift_labels),
            end_token_id=self.end_token_id,
            max_length=self.max_length,
            truncation=self.truncation,
            padding_side=self.padding_side,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )
        shape = (len(flat.batch), layout.columns)
        inputs = np.empty(shape, np.int64)  # one allocation each: a huge one for all would never be reused
        labels = np.empty(shape, np.int64) if self.labels else None
        mask = None if self.as_tuple else np.empty(shape, np.int64)
        self._place(flat, layout, inputs, labels, mask)
        supervised = self._supervise(flat, layout, labels)
        if mask is None:
            return torch.from_numpy(inputs), torch.from_numpy(labels)
        tensors = {"input_ids": torch.from_numpy(inputs), "attention_mask": torch.from_numpy(mask)}
        if labels is not None:
            tensors["labels"] = torch.from_numpy(labels)
        return Batch(tensors, torch.from_numpy(flat.batch.record_ids.copy()), layout.tokens, supervised)

    def _place(
        self,
        flat: FlatRows,
        layout: RowLayout,
        inputs: IntArray,
        labels: IntArray | None,
        mask: IntArray | None,
    ) -> None:
        unlabelled = self.pad_token_id if self.ignore_index is None else self.ignore_index
        targets = [Target(inputs, 0, self.pad_token_id)]
        if labels is not None and flat.labels is None:
            targets.append(Target(labels, layout.shift, unlabelled))
        place_rows(flat.batch.values, layout, targets, mask)
        if labels is not None and flat.labels is not None:
            targets = [Target(labels, layout.shift, unlabelled)]
            place_rows(flat.labels, layout.for_labels(flat.labels), targets)

    def _supervise(self, flat: FlatRows, layout: RowLayout, labels: IntArray | None) -> int:
        """Mask what is no target, and count what is."""
        if labels is None:
            return 0
        counted = labels[:, 1 - layout.shift :]
        if self.ignore_index is None:
            return counted.size
        if self.supervise == "response":
            keep = mark_spans(spans_of(flat.batch), layout)
            np.copyto(labels, self.ignore_index, where=~keep)
            if flat.labels is None and self.ignore_index < 0:
                return int(np.count_nonzero(keep[:, 1 - layout.shift :]))
        if flat.labels is not None or self.ignore_index >= 0:  # a token may have that value: the loss skips it too
            return int(np.count_nonzero(counted != self.ignore_index))
        tokens = layout.tokens
        if layout.shift:
            return tokens
        filled = layout.counts if layout.lead is None else (layout.lead == 0).tolist()
        return tokens - sum(map(bool, filled))


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
