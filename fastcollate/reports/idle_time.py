"""How long the ranks of a step wait for the one with the most work: numbers, and a picture of one step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.plan.order import Landmark
from fastcollate.plan.pack_plans.balance import work_of
from fastcollate.plan.pack_plans.pack_plan import PackPlan
from fastcollate.plan.pack_plans.pack_window import PackedWindow
from fastcollate.ragged import IntArray, offsets_of
from fastcollate.reports.lengths import bar
from fastcollate.reports.text import columns

__all__ = ["USUAL", "WANTED", "IdleTime", "picture", "window_that_would_do"]

USUAL = 24_576  # the length that costs are told by where a plan has none
WANTED = 0.01  # of all ranks' time: what is idle beyond it is worth a larger window
_LARGEST_TRIED = 1 << 21  # records of a window
_RANKS_SHOWN = 16


@dataclass(slots=True)
class IdleTime:
    """`IdleTime` adds up what the ranks of each step have to do.

    Attributes:
        balance: The length at which a document's attention costs as much as all else; see `PackedDataset`.
        targets: The supervised tokens of each record, int64[N]; None where nobody knows them.
        costs: The work of each rank in each step, steps and ranks, of each window.
        supervised: The same in supervised tokens.
    """

    balance: int
    targets: NDArray[Any] | None = None
    costs: list[NDArray[Any]] = field(default_factory=list)
    supervised: list[NDArray[Any]] = field(default_factory=list)

    def add(self, window: PackedWindow, group: int) -> None:
        """Add the steps of a window."""
        pieces = window.whole.pieces
        self.costs.append(_by_batch(window, work_of(pieces.lengths, self.balance), group))
        if self.targets is not None:  # of a piece at most all its tokens but the first
            targets = np.minimum(self.targets[pieces.records], pieces.lengths - 1)
            self.supervised.append(_by_batch(window, targets, group))

    def facts(self) -> dict[str, Any]:
        """Return the numbers as JSON; null for what nobody knows."""
        idle = _idle_of(np.concatenate(self.costs))
        return {
            "balance": self.balance,
            "steps": len(idle.each),
            "idle": idle.all,
            "idle_of_a_step": {
                "mean": float(idle.each.mean()) if len(idle.each) else 0.0,
                "p99": float(np.quantile(idle.each, 0.99)) if len(idle.each) else 0.0,
            },
            "supervised_spread": _spread_of(self.supervised),
            "ranks_of_a_step": _usual_step(np.concatenate(self.costs), idle.each),
        }


@dataclass(frozen=True, slots=True)
class _Idle:
    """What is idle of the time of all ranks in all steps, and in each of them."""

    all: float
    each: NDArray[np.float64]


def _by_batch(window: PackedWindow, values: IntArray, group: int) -> NDArray[Any]:
    """The sum over each batch's documents, a row a step."""
    before = offsets_of(values)[window.whole.packs.edges]
    return (before[window.stops] - before[window.starts]).reshape(-1, group)


def _idle_of(costs: NDArray[Any]) -> _Idle:
    most, mean = costs.max(axis=1, initial=1).astype(float), costs.mean(axis=1)
    return _Idle(1 - float(mean.sum() / most.sum()) if len(costs) else 0.0, 1 - mean / most)


def _spread_of(supervised: list[NDArray[Any]]) -> float | None:
    """By how much the rank with the most targets of a step exceeds the mean of them, on average: 1 is equal."""
    counts = np.concatenate(supervised) if supervised else np.zeros((0, 1))
    counts = counts[counts.any(axis=1)]
    return float((counts.max(axis=1) / counts.mean(axis=1)).mean()) if len(counts) else None


def _usual_step(costs: NDArray[Any], idle: NDArray[np.float64]) -> list[float]:
    """The ranks' work in a step that is idle for longer than half of the steps are: the largest is 1."""
    if not len(costs):
        return []
    step = np.sort(costs[np.argsort(idle, kind="stable")[len(idle) // 2]])[::-1]
    return [round(float(work / max(1, step[0])), 4) for work in step]


def window_that_would_do(plan: PackPlan, balance: int) -> int | None:
    """Return the smallest window, of twice as many records each, with little enough idle time; None if none has.

    Args:
        plan: The plan whose window is too small.
        balance: See `IdleTime`.
    """
    window = plan.window
    while window < min(plan.num_records, _LARGEST_TRIED):
        window *= 2
        larger = replace(plan, window=window, landmark=Landmark())
        found = IdleTime(balance)
        found.add(larger.plan_window(0), plan.group)
        if _idle_of(found.costs[0]).all <= WANTED:
            return window
    return None


def picture(ranks: Iterable[float]) -> list[str]:
    """Return a line for each of some ranks of a step: how long it works while the others wait or work.

    >>> picture([1.0, 0.5])[1].split()[0], picture([1.0, 0.5])[1].split()[-2:]
    ('2', ['50.0', '%'])
    """
    work = list(ranks)
    chosen = np.unique(np.linspace(0, len(work) - 1, min(len(work), _RANKS_SHOWN)).astype(int)).tolist()
    left = len(f"{len(work):,}")
    room = columns() - left - 12
    return [f"{n + 1:>{left},}  {bar(work[n], room):{room}}  {100 * work[n]:5.1f} %" for n in chosen]
