"""What a batch says its records are, and whether they are the store's."""

from collections import Counter

import numpy as np
import torch


def rows_of(batch, *, pad_token_id):
    """The records of a batch as tuples, checked: what padding and labels hold."""
    input_ids, labels = batch["input_ids"], batch["labels"]
    assert input_ids.dtype == labels.dtype == torch.int64
    if "attention_mask" in batch:
        mask = batch["attention_mask"]
        assert mask.dtype == torch.int64
        real = mask == 1
        assert torch.equal(real, torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True))
        assert torch.equal(labels, torch.where(real, input_ids, -100))
        assert (input_ids[~real] == pad_token_id).all()
        return [tuple(row[keep].tolist()) for row, keep in zip(input_ids, real, strict=True)]
    real = batch["document_ids"] >= 0 if "document_ids" in batch else torch.ones_like(input_ids, dtype=torch.bool)
    first = batch["position_ids"] == 0
    assert torch.equal(labels, torch.where(real & ~first, input_ids, -100))
    starts = torch.nonzero(first[real]).flatten().tolist()
    pieces = torch.tensor_split(input_ids[real], starts[1:])
    return [tuple(piece.tolist()) for piece in pieces]


def check_delivered(batches, store, *, pad_token_id, longest=None):
    """Refuse batches with a row that the store lacks or has fewer times, its rows cut into pieces of `longest`.

    Raises:
        AssertionError: what a batch holds where it is padded, or how many rows are not the store's.
    """
    dtype = store[0].dtype
    found = Counter(
        np.array(row, dtype).tobytes() for batch in batches for row in rows_of(batch, pad_token_id=pad_token_id)
    )
    held = Counter()
    for row in store:
        for first in range(0, len(row), longest or len(row)):
            piece = row[first : first + (longest or len(row))].tobytes()
            if piece in found:
                held[piece] += 1
    strange = found - held
    assert not strange, f"{strange.total()} of {found.total()} rows delivered are not the store's"
