"""How long the ranks of a step would wait for each other: packs of equal work, and packs dealt at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcollate.corpus.corpus import Corpus

__all__ = ["idle_shares"]


def idle_shares(corpus: Corpus, *, ranks: int, seed: int, **planned: Any) -> dict[str, Any]:
    """Return what part of all ranks' time is idle in an epoch of packs, by how these are dealt to steps.

    Args:
        corpus: The records.
        ranks: How many ranks share each step.
        seed: The seed of the shuffle.
        planned: What else packs are planned with, such as their length; longer records are split.

    >>> from fastcollate import Ragged
    >>> from fastcollate.corpus.corpus import as_corpus
    >>> corpus = as_corpus(Ragged.from_rows([[1] * 8, [1] * 8, *[[1]] * 16]))
    >>> idle_shares(corpus, ranks=2, seed=1, length=8)["by_work"]
    0.0
    """
    from fastcollate.plan.planning import plan_packs  # noqa: PLC0415
    from fastcollate.reports.idle_time import USUAL, IdleTime  # noqa: PLC0415
    from fastcollate.reports.plan_summary import summarise_packs  # noqa: PLC0415

    def idle(balance: int | None) -> float:
        given: dict[str, Any] = {"overlong": "split", "group": ranks, "balance": balance, "seed": seed, **planned}
        found = IdleTime(USUAL)
        summarise_packs(plan_packs(corpus.length_histogram(), corpus.at_epoch(seed, 0), **given), found)
        return float(found.facts()["idle"])

    return {"ranks": ranks, "by_work": idle(USUAL), "at_random": idle(None)}
