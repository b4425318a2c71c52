"""The collator as it was before parcels, for the arguments that the races use: what one batch at a time costs.

Right padding, a tail for every row or none, labels aligned or shifted; each batch is laid out, placed in each of
its tensors and masked alone.
"""

from typing import NamedTuple

import numpy as np
import torch

from fastcollate.collate.batch import Batch
from fastcollate.errors import CollateError

_COLUMNS_PER_ROW = 600
_SET_UP = 7 * _COLUMNS_PER_ROW


class FormerLayout(NamedTuple):
    """Where each row goes in a batch of `columns` columns."""

    starts: np.ndarray
    copied: np.ndarray
    real: np.ndarray
    tails: np.ndarray | None
    columns: int
    shift: int
    counts: list
    shortest: int
    num_tokens: int
    mostly_even: bool


class FormerTarget(NamedTuple):
    """One tensor to fill: each sequence from token `first` on, and `fill` elsewhere."""

    out: np.ndarray
    first: int
    fill: int


class FormerCollator:
    """What `PaddingCollator(pad_token_id, ...)` was."""

    def __init__(self, pad_token_id, *, end_token_id=None, shift_labels=False, as_tuple=False, ignore_index=-100):
        self.pad_token_id = pad_token_id
        self.end_token_id = end_token_id
        self.shift_labels = shift_labels
        self.as_tuple = as_tuple
        self.ignore_index = ignore_index

    def __call__(self, batch):
        layout = self.lay_out(batch)
        names = ["input_ids", "labels"] if self.as_tuple else ["input_ids", "attention_mask", "labels"]
        arrays = {name: np.empty((len(layout.counts), layout.columns), np.int64) for name in names}
        targets = [
            FormerTarget(arrays["input_ids"], 0, self.pad_token_id),
            FormerTarget(arrays["labels"], layout.shift, self.ignore_index),
        ]
        place_rows(batch.tokens.values, layout, targets, arrays.get("attention_mask"))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.as_tuple:
            return tensors["input_ids"], tensors["labels"]
        first = 0 if layout.shift else len(layout.counts)
        ids = torch.from_numpy(batch.record_ids.copy())
        return Batch(tensors, ids, layout.num_tokens, layout.num_tokens - first)

    def lay_out(self, batch):
        lengths = batch.tokens.lengths
        if len(lengths) == 0 or np.count_nonzero(lengths) < len(lengths):
            raise CollateError("a row is empty")
        tails = None
        if self.end_token_id is not None:
            tails = np.empty(len(lengths), np.int64)
            tails.fill(self.end_token_id)
        shift = int(self.shift_labels)
        more = (tails is not None) - shift
        real = lengths + more if more else lengths
        counts = real.tolist()
        shortest, columns = min(counts), max(*counts, 1) if batch.width is None else batch.width
        spread = columns - shortest
        return FormerLayout(
            starts=batch.tokens.starts,
            copied=lengths,
            real=real,
            tails=tails,
            columns=columns,
            shift=shift,
            counts=counts,
            shortest=shortest,
            num_tokens=sum(counts),
            mostly_even=spread == 0 or len(counts) * (_COLUMNS_PER_ROW - spread) >= _SET_UP,
        )


def place_rows(values, layout, targets, mask):
    """Write every row into every target, and 1 into `mask` where there is a token."""
    if layout.mostly_even and len(values) >= layout.columns + layout.shift:
        place_rectangle(values, layout, targets, mask)
    else:
        place_slices(values, layout, targets, mask)
    if layout.tails is not None:
        for target in targets:
            if target.first == layout.shift:
                place_tails(layout, target.out)


def place_rectangle(values, layout, targets, mask):
    """Copy as many values for each row as the batch is wide, then overwrite the padding."""
    windows = windows_of(values, layout)
    try:
        found = windows[layout.starts]
    except IndexError:
        found = windows[layout.starts.clip(0, len(windows) - 1)]
        for i in np.flatnonzero(layout.starts >= len(windows)).tolist():
            start, count = int(layout.starts[i]), int(layout.copied[i])
            found[i, :count] = values[start : start + count]
    for out, first, _ in targets:
        out[:] = found[:, first : first + layout.columns]
    if mask is not None:
        mask.fill(1)
    if layout.shortest < layout.columns:
        small = np.int16 if layout.columns < 2**15 else np.int64
        columns = np.arange(layout.shortest, layout.columns, dtype=small)
        padding = columns >= layout.real.astype(small)[:, None]
        for out, _, fill in targets if mask is None else [*targets, FormerTarget(mask, 0, 0)]:
            np.copyto(out[:, layout.shortest :], fill, where=padding)


def windows_of(values, layout):
    """An overlapping view: row `s` is `values[s:s + T + shift]`."""
    size, extent = values.itemsize, layout.columns + layout.shift
    return np.ndarray((len(values) - extent + 1, extent), values.dtype, values.data, strides=(size, size))


def place_slices(values, layout, targets, mask):
    """One slice assignment a row and target."""
    starts, places = layout.starts.tolist(), range(0, len(layout.counts) * layout.columns, layout.columns)
    for out, first, fill in targets:
        out.fill(fill)
        flat = out.reshape(-1)
        counts = layout.counts
        if layout.tails is not None and first >= layout.shift:
            counts = [count - 1 for count in counts]
        for start, count, place in zip(starts, counts, places, strict=True):
            flat[place : place + count] = values[start + first : start + first + count]
    if mask is not None:
        mask.fill(0)
        flat = mask.reshape(-1)
        for count, place in zip(layout.counts, places, strict=True):
            flat[place : place + count] = 1


def place_tails(layout, out):
    """Put the end token of each row after its others."""
    if layout.shortest == layout.columns:
        out[:, layout.columns - 1] = layout.tails
    else:
        out.reshape(-1)[np.arange(-1, out.size - 1, layout.columns) + layout.real] = layout.tails
