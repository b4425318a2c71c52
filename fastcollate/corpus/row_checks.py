"""Whether what is given beside rows in memory fits them."""

from __future__ import annotations

import numpy as np

from fastcollate.errors import InputError
from fastcollate.ragged import IntArray, Ragged

__all__ = ["NO_TARGET", "check_labels", "check_spans"]

NO_TARGET = -100  # what a label is where the loss has nothing to learn


def check_labels(labels: Ragged) -> None:
    """Each label is a token id, or -100 where there is no target.

    Raises:
        InputError: One is neither.
    """
    values = labels.compact().values.astype(np.int64, copy=False)
    wrong = np.flatnonzero((values < 0) & (values != NO_TARGET))
    if len(wrong):
        raise InputError(
            f"labels hold {values[wrong[0]]}: a label is a token id, or {NO_TARGET} where there is no target"
        )


def check_spans(spans: Ragged, lengths: IntArray) -> None:
    """Each record's spans are pairs that rise from 0 to its length."""
    flat = spans.compact()
    values = flat.values.astype(np.int64)
    owner = np.repeat(np.arange(len(flat)), flat.lengths)
    falls = np.flatnonzero((np.diff(values) < 0) & (owner[1:] == owner[:-1]))
    outside = np.flatnonzero((values < 0) | (values > lengths[owner]))
    odd = np.flatnonzero(flat.lengths % 2)
    wrong = [*odd[:1], *owner[falls[:1]], *owner[outside[:1]]]
    if wrong:
        record = int(min(wrong))
        raise InputError(
            f"record {record} has spans {flat[record].tolist()}: they are (start, stop) pairs that rise from 0 to "
            f"its {lengths[record]} tokens"
        )
