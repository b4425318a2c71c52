"""The groups of a corpus: which of its records a dataset keeps together."""

from __future__ import annotations

import numpy as np

from fastcollate.arguments import check_flag
from fastcollate.corpus.corpus import Corpus
from fastcollate.corpus.mixture import Mixture
from fastcollate.errors import PlanError
from fastcollate.plan.grouped.groups import Groups

__all__ = ["find_groups"]


def find_groups(corpus: Corpus, wanted: bool) -> Groups | None:  # a public argument of that name
    """Return which records of a corpus belong together, or None where nobody wants to know.

    Raises:
        PlanError: The corpus has no groups, or some record has none; or it is a mixture, which parts them.
    """
    if not check_flag("groups", wanted, error=PlanError):
        return None
    if isinstance(corpus, Mixture):
        raise PlanError(
            "groups=True with a mixture: it takes records one by one, and would tear groups apart; merge "
            "the stores, or iterate each alone"
        )
    if "group" not in corpus.columns:
        raise PlanError(
            "groups=True needs a corpus with a column 'group': prepare preference pairs, give StoreWriter.append "
            "a column of that name, or set groups=False"
        )
    if not len(corpus):
        return None
    numbers = getattr(corpus, "groups", None)
    if callable(numbers):
        return Groups.of(np.asarray(numbers(), np.int64))
    found = corpus.at_epoch(0, 0).gather(np.arange(len(corpus)), ("group",))
    return Groups.of(found.columns["group"].to_ragged().values.astype(np.int64))
