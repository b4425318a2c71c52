"""What rows say about themselves beside their tokens: applied to the batch, or refused by name, never dropped.

In this file `first: int64[B]` is the place of each row's first value where the rows lie side by side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.reading.several_documents import split_documents
from fastcollate.errors import CollateError
from fastcollate.ragged import RaggedBatch, Rows

__all__ = ["IGNORED", "MASKS", "PER_TOKEN", "check_labels", "settle"]

IGNORED = -100  # what labels given with rows hold where there is no target, whatever the collator writes there
_TARGET_MASKS = ("completion_mask", "assistant_masks", "loss_mask")
MASKS = ("attention_mask", *_TARGET_MASKS)
_SETTLED = frozenset({"spans", "labels"})
PER_TOKEN = ("labels", *MASKS, "position_ids")


def settle(batch: RaggedBatch, *, ignore_index: int | None, packs: bool, weighted: bool) -> RaggedBatch:
    """Return the batch with its columns applied: `spans` and `labels` are left, and say what the others said.

    So are the `weights` of spans, where they are honoured.

    Rows are cut to where their attention mask is 1. A label where a mask is 0, or that is -100, becomes
    `ignore_index`. Rows that hold several documents become packs of them.

    Args:
        batch: The rows and all their columns.
        ignore_index: What labels hold where there is no target; None if they cannot mark it.
        packs: Whether rows may hold several documents.
        weighted: Whether spans may weigh otherwise than 1.

    Raises:
        CollateError: A column contradicts its row or another column, or cannot be honoured.
    """
    lengths, columns = batch.tokens.lengths, batch.columns
    for name in PER_TOKEN:
        if name in columns and (columns[name].lengths != lengths).any():
            i = int((columns[name].lengths != lengths).argmax())
            what = f"{columns[name].lengths[i]} {name if name.endswith('s') else f'values of {name}'}"
            raise CollateError(f"row {i} has {lengths[i]} input_ids and {what}: one a token")
    if ignore_index == IGNORED and columns.keys() <= _SETTLED:
        return batch
    kept = _SETTLED | ({"weights"} if weighted and "spans" in columns else set())
    if "weights" in columns.keys() - kept and (columns["weights"].joined() != 1).any():
        raise CollateError(
            "the batch has weights other than 1: labels cannot hold them; weights of spans become `loss_weights` "
            "with supervise=\"response\" and without as_tuple; or leave out 'weights'"
        )
    batch = _without_padding(batch)
    settled = {name: batch.columns[name] for name in kept if name in columns}
    masks = [name for name in _TARGET_MASKS if name in columns]
    if masks and "spans" not in settled:  # the masks alone say what is a response
        settled["spans"] = _whole_rows(batch)
    if masks or ("labels" in settled and ignore_index != IGNORED):
        settled["labels"] = _targets(batch, masks, ignore_index)
    return split_documents(replace(batch, columns=settled), batch.columns, allowed=packs)


def check_labels(labels: Rows, ignore_index: int | None) -> None:
    """Refuse labels that are neither a token nor what marks that there is no target.

    Raises:
        CollateError: A label is negative, and neither -100 nor `ignore_index`. Row and label are named.
    """
    negative = labels.values < 0
    if not negative.any():
        return
    wrong = negative & (labels.values != IGNORED)
    if ignore_index is not None:
        wrong &= labels.values != ignore_index
    if wrong.any():
        place = int(wrong.argmax())
        row = int(np.searchsorted(labels.starts + labels.lengths, place, side="right"))
        marks = "-100" if ignore_index in (None, IGNORED) else f"-100 or {ignore_index}"
        raise CollateError(
            f"labels of row {row} hold {labels.values[place]}: "
            f"a label is a token id, or {marks} where there is no target"
        )


def _without_padding(batch: RaggedBatch) -> RaggedBatch:
    """The rows cut to where their attention mask is 1, which must be one run in each."""
    if "attention_mask" not in batch.columns:
        return batch
    mask = _ones(batch, "attention_mask")
    if mask.all():
        return batch
    if batch.packs is not None:
        raise CollateError("the batch is packs with an attention_mask: packs say where tokens lie; leave it out")
    lengths = batch.tokens.lengths
    first = np.cumsum(lengths) - lengths
    places = np.flatnonzero(mask)
    edges = np.searchsorted(places, np.append(first, len(mask)))
    counts = np.diff(edges)
    masked = (counts == 0) & (lengths > 0)
    if masked.any():
        i = int(masked.argmax())
        raise CollateError(f"row {i} has an attention_mask of zeros: a row needs at least one token; leave it out")
    begins, full = np.zeros(len(first), np.int64), counts > 0
    begins[full] = places[edges[:-1][full]] - first[full]
    lasts = begins.copy()
    lasts[full] = places[edges[1:][full] - 1] - first[full]
    holes = full & (lasts - begins + 1 != counts)
    if holes.any():
        i = int(holes.argmax())
        inside = mask[first[i] + begins[i] : first[i] + lasts[i] + 1]
        raise CollateError(
            f"row {i} has a zero in its attention_mask between ones, at token {begins[i] + int(inside.argmin())}: "
            "zeros are padding, which lies at a row's ends; to keep tokens out of the loss give a 'loss_mask'"
        )
    return batch.cut(begins, counts, per_token=PER_TOKEN)


def _targets(batch: RaggedBatch, masks: list[str], ignore_index: int | None) -> Rows:
    """The labels, or else the tokens, as labels that hold `ignore_index` wherever there is no target."""
    given = batch.columns.get("labels")
    rows = batch.tokens if given is None else given
    values = rows.joined().astype(np.int64)
    skipped = np.zeros(len(values), bool) if given is None else values == IGNORED
    if ignore_index is None:
        if masks or skipped.any():
            what = f"a {masks[0]}" if masks else "labels of -100"
            raise CollateError(
                f"the rows have {what}, but ignore_index=None leaves nothing to mark these tokens with: "
                "choose an ignore_index"
            )
        return rows
    for name in masks:
        skipped |= ~_ones(batch, name)
    values[skipped] = ignore_index
    return Rows(values, np.cumsum(rows.lengths) - rows.lengths, rows.lengths)


def _whole_rows(batch: RaggedBatch) -> Rows:
    """Spans that cover each row."""
    begins = np.zeros(len(batch.record_ids), np.int64) if batch.cuts is None else batch.cuts
    pairs = np.stack([begins, begins + batch.tokens.lengths], axis=1)
    return Rows(pairs.reshape(-1), np.arange(0, pairs.size, 2), np.full(len(pairs), 2))


def _ones(batch: RaggedBatch, name: str) -> NDArray[np.bool_]:
    """bool[V]: where a mask is 1."""
    values = batch.columns[name].joined()
    ones: NDArray[np.bool_] = values == 1
    wrong = ~ones & (values != 0)
    if wrong.any():
        place = int(wrong.argmax())
        row = int(np.searchsorted(np.cumsum(batch.tokens.lengths), place, side="right"))
        raise CollateError(f"{name} of row {row} holds {values[place]}: it is 0 or 1 for each token")
    return ones
