"""How many targets records have: counted in memory, and whether a corpus knows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastcollate.corpus.row_checks import NO_TARGET
from fastcollate.errors import PlanError
from fastcollate.plan.pack_plans.targets import Supervised
from fastcollate.ragged import IntArray, Ragged, offsets_of

__all__ = ["check_targets", "count_targets"]


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


def check_targets(corpus: Any, balance: int | str | None) -> int | str | None:
    """Return a balance; if it is no length, refuse a corpus that does not know how many targets a record has.

    Raises:
        PlanError: Such a corpus, or a mixture with one.
    """
    wholes = [source.corpus for source in getattr(corpus, "sources", ())] or [corpus]
    for whole in wholes if isinstance(balance, str) else []:
        marked = sorted({"labels", "spans"} & set(whole.columns))
        if marked and not isinstance(whole.at_epoch(0, 0), Supervised):
            raise PlanError(
                f'balance="targets": {whole!r} has {marked[0]}, and does not say how many targets a record has; '
                "prepare its records as a store, or give balance a length"
            )
    return balance
