"""A rank's share of an epoch, and a worker's share of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappush, heapreplace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastcollate.plan.order import PlannedBatch, Window, WindowedPlan
from fastcollate.plan.shares import Share
from fastcollate.ragged import IntArray

__all__ = ["deal_rows", "rank_batches", "rank_shares"]

_GROWTH = 4  # how much larger the next share is

AnyBatch = TypeVar("AnyBatch", bound=PlannedBatch)


def rank_batches(
    plan: WindowedPlan[AnyBatch],
    *,
    start: int,
    rank: int,
    world_size: int,
    worker: int = 0,
    num_workers: int = 1,
) -> Iterator[AnyBatch]:
    """Yield the batches of one worker of one rank, from global batch `start` on.

    Step s of the run takes global batches `start + s * world_size + rank`; worker w of n takes every n-th
    step. Batches that do not fill a step wait for those of the next window. Two kinds of steps are dealt out anew,
    row by row, and only a run that was resumed on another world size meets either: what is left at the epoch's
    end, so that every rank gets the same number of batches; and a step in which one rank would get filler rows
    only while another gets two records or more.

    Args:
        plan: The plan of the epoch.
        start: The global batch to begin with.
        rank: Which rank, from 0 to `world_size - 1`.
        world_size: How many ranks share each step.
        worker: Which worker of the rank, from 0 to `num_workers - 1`.
        num_workers: How many workers of the rank take turns.
    """
    turns = _turns(plan, start=start, rank=rank, world_size=world_size, worker=worker, num_workers=num_workers)
    for batches in turns:
        if isinstance(batches, _Some):
            yield from map(batches.window.__getitem__, batches.numbers.tolist())
        else:
            yield batches


def rank_shares(
    plan: WindowedPlan[AnyBatch],
    *,
    start: int,
    rank: int,
    world_size: int,
    worker: int = 0,
    num_workers: int = 1,
    most: int = 4096,
) -> Iterator[Share]:
    """Yield what `rank_batches` yields as shares of several batches each, `most` at most.

    The first share has one batch, so that it comes soon; shares grow until each has all that a window gives.
    """
    ahead = 1
    turns = _turns(plan, start=start, rank=rank, world_size=world_size, worker=worker, num_workers=num_workers)
    for batches in turns:
        if not isinstance(batches, _Some):
            yield batches.share()
            continue
        window, numbers = batches
        while len(numbers):
            yield window.share(numbers[:ahead])
            numbers, ahead = numbers[ahead:], min(ahead * _GROWTH, most)


class _Some(NamedTuple, Generic[AnyBatch]):
    """Some batches of a window, in the order of `numbers: int64[C]`."""

    window: Window[AnyBatch]
    numbers: IntArray


def _turns(
    plan: WindowedPlan[AnyBatch], *, start: int, rank: int, world_size: int, worker: int, num_workers: int
) -> Iterator[_Some[AnyBatch] | AnyBatch]:
    """What the worker takes, in its order: batches of a window, and alone what waited or was dealt anew."""
    step, waiting, rows = 0, list[AnyBatch](), np.arange(0)  # the first step not yet given, and what it has so far
    for base, window in plan.windows(start):
        skipped, held = max(0, start - base), len(waiting)
        moved = skipped - held  # batch i is `waiting[i]`, or `window[i + moved]`; it has `rows[i]` real rows
        rows = np.concatenate([rows, window.real_rows[skipped:]])
        steps, full = len(rows) // world_size, len(rows) // world_size * world_size
        ahead = np.arange((worker - step) % num_workers, steps, num_workers)
        mine, uneven = ahead * world_size + rank, _uneven_steps(rows[:full].reshape(steps, world_size))[ahead]
        after = 0
        for at in np.flatnonzero(uneven | (mine < held)).tolist():
            if at > after:
                yield _Some(window, mine[after:at] + moved)
            number, after = int(mine[at]), at + 1
            if uneven[at]:
                first = number - rank
                batches = _between(first, first + world_size, waiting, window, moved)
                yield deal_rows(batches, world_size, static=plan.static)[rank]
            else:
                yield waiting[number]
        if after < len(mine):
            yield _Some(window, mine[after:] + moved)
        step, waiting, rows = step + steps, _between(full, len(rows), waiting, window, moved), rows[full:]
    if waiting and not plan.drop_last and step % num_workers == worker:
        yield deal_rows(waiting, world_size, static=plan.static)[rank]


def _between(
    first: int, last: int, waiting: list[AnyBatch], window: Window[AnyBatch], moved: int
) -> list[AnyBatch]:
    """The batches `first` to `last` of those that wait and then those of a window."""
    begin = max(first, len(waiting))
    return [*waiting[first:last], *(window[number + moved] for number in range(begin, last))]


def _uneven_steps(rows: IntArray) -> NDArray[np.bool_]:
    """Steps in which a batch has filler rows only, and another two rows or more; `rows: int64[steps, group]`."""
    if rows.all():
        return np.zeros(len(rows), bool)
    uneven: NDArray[np.bool_] = (rows.min(axis=1) == 0) & (rows.max(axis=1) > 1)
    return uneven


def deal_rows(batches: Sequence[AnyBatch], world_size: int, *, static: bool) -> list[AnyBatch]:
    """Return the rows of a step's batches, at most one for each rank, as exactly one for each rank.

    Batches of filler rows only are left out. Then the batch with the most rows is halved until there are enough:
    none has more rows, or wider ones, than the plan gave it, and none has filler rows only where another has two
    records. Where the plan's shapes are static each is filled up again; where there are fewer records than ranks,
    a filler row stands in.

    Args:
        batches: The batches of the step, at least one and at most `world_size`.
        world_size: How many batches to return.
        static: Whether a batch that was cut gets back, as filler rows, the rows that the plan gave it.
    """
    dealt = [batch for batch in batches if batch.real_rows] or [batches[0]]
    rows = [batch.rows if static else 1 for batch in dealt]
    most = [(-batch.real_rows, number) for number, batch in enumerate(dealt)]  # a heap: the most rows first
    heapify(most)
    while len(dealt) < world_size:
        largest = most[0][1]
        dealt[largest], half = dealt[largest].halves()
        heapreplace(most, (-dealt[largest].real_rows, largest))
        heappush(most, (-half.real_rows, len(dealt)))
        dealt.append(half)
        rows.append(rows[largest])
    return [batch.filled(count) for batch, count in zip(dealt, rows, strict=True)]
