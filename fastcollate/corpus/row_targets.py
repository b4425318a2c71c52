"""How many targets rows in memory have."""

from __future__ import annotations

import numpy as np

from fastcollate.corpus.row_checks import NO_TARGET
from fastcollate.ragged import IntArray, Ragged, offsets_of

__all__ = ["count_targets"]


def count_targets(lengths: IntArray, *, spans: Ragged | None, labels: Ragged | None) -> IntArray:
    """Return the targets of each row, int64[N]: by its labels, or its spans, or else all its tokens.

    >>> count_targets(np.array([3, 2]), spans=Ragged.from_rows([[0, 1, 2, 3], []]), labels=None)
    array([2, 0])
    """
    if labels is not None:
        counted, edges = offsets_of(labels.compact().values != NO_TARGET), offsets_of(lengths)
    elif spans is not None:
        pairs = spans.compact().values.astype(np.int64).reshape(-1, 2)
        counted, edges = offsets_of(pairs[:, 1] - pairs[:, 0]), offsets_of(spans.lengths // 2)
    else:
        return lengths
    return np.diff(counted[edges])
