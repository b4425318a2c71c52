"""A rank's share of an epoch, and a worker's share of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from heapq import heapify, heappush, heapreplace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastcollate.plan.order import PlannedBatch, Window, WindowedPlan
from fastcollate.plan.shares import InSteps, Share
from fastcollate.ragged import IntArray

__all__ = ["deal_rows", "rank_batches", "rank_shares"]

AnyBatch = TypeVar("AnyBatch", bound=PlannedBatch)


def rank_batches(
    plan: WindowedPlan[AnyBatch],
    *,
    start: int,
    rank: int,
    world_size: int,
    worker: int = 0,
    num_workers: int = 1,
    accumulate: int = 1,
    begin: int | None = None,
) -> Iterator[AnyBatch]:
    """Yield the batches of one worker of one rank, from global batch `start` on.

    Step s of the run takes global batches `start + s * world_size + rank`; worker w of n takes every n-th of the
    rank's batches. A step of several batches a rank takes its `accumulate * world_size` batches largest first, the
    ranks in turn, there and back: so the micro-batches of all ranks are neighbours in size, and a run of as many
    batches a step on other ranks goes on in the middle of one. Batches that do not fill a step wait for those of
    the next window. Two kinds of steps are dealt out anew, row by row, and only a run that was resumed on another
    world size meets either: what is left at the epoch's end, so that every rank gets the same number of batches;
    and a step in which one rank would get filler rows only while another gets two records or more.

    Args:
        plan: The plan of the epoch.
        start: The global batch to begin with.
        rank: Which rank, from 0 to `world_size - 1`.
        world_size: How many ranks share each step.
        worker: Which worker of the rank, from 0 to `num_workers - 1`.
        num_workers: How many workers of the rank take turns.
        accumulate: How many batches of each rank a step has; 1 by default.
        begin: A global batch that steps are counted from; by default `start`, where one begins.
    """
    ranks = _Ranks(rank, world_size, accumulate, worker, num_workers)
    for turn in _turns(plan, start, start if begin is None else begin, ranks):
        if isinstance(turn, _Some):
            yield from map(turn.window.__getitem__, turn.numbers.tolist())
        else:
            yield turn.batch


def rank_shares(
    plan: WindowedPlan[AnyBatch],
    *,
    start: int,
    rank: int,
    world_size: int,
    worker: int = 0,
    num_workers: int = 1,
    accumulate: int = 1,
    begin: int | None = None,
    most: int = 4096,
    growth: int = 4,
) -> Iterator[Share]:
    """Yield what `rank_batches` yields as shares of several batches each, `most` at most.

    The first share has one batch, so that it comes soon; each has up to `growth` times as many as the one before,
    until it has all that a window gives.
    """
    ahead, size = 1, world_size * accumulate
    ranks = _Ranks(rank, world_size, accumulate, worker, num_workers)
    for turn in _turns(plan, start, start if begin is None else begin, ranks):
        if not isinstance(turn, _Some):
            yield turn.share(size)
            continue
        while len(turn.numbers):
            yield turn.part(0, ahead).share(size)
            turn, ahead = turn.part(ahead, len(turn.numbers)), min(ahead * growth, most)  # noqa: PLW2901


class _Ranks(NamedTuple):
    """Who takes which batches of a step; see `rank_batches`."""

    rank: int
    world_size: int
    accumulate: int
    worker: int
    num_workers: int

    @property
    def size(self) -> int:
        """The batches of a step."""
        return self.world_size * self.accumulate

    @property
    def slots(self) -> IntArray:
        """int64[accumulate]: the rank's batches of a step, whose batches lie largest first."""
        micro, last = np.arange(self.accumulate), self.world_size - 1
        return micro * self.world_size + np.where(micro % 2, last - self.rank, self.rank)


class _Some(NamedTuple, Generic[AnyBatch]):
    """Some batches of a window, in the order of `numbers: int64[C]`.

    Attributes:
        firsts: The first batch of the step of each, int64[C].
        micro: Which of its rank's batches of the step each is, int64[C].
    """

    window: Window[AnyBatch]
    numbers: IntArray
    firsts: IntArray
    micro: IntArray

    def part(self, first: int, last: int) -> _Some[AnyBatch]:
        """Return some of them."""
        return _Some(self.window, *(column[first:last] for column in self[1:]))

    def share(self, size: int) -> Share:
        """Return them as a share that knows the steps of `size` batches they belong to."""
        share = self.window.share(self.numbers)
        if size == 1:
            return share
        steps, home = np.unique(self.firsts, return_inverse=True)
        whole = (steps[:, None] + np.arange(size)).ravel()
        return share._replace(steps=InSteps(self.micro, home, size, partial(_share_of, self.window, whole)))


class _One(NamedTuple, Generic[AnyBatch]):
    """A batch that waited or was dealt anew, all batches of its step, and which of its rank's it is."""

    batch: AnyBatch
    step: Sequence[AnyBatch]
    micro: int

    def share(self, size: int) -> Share:
        """Return it as a share that knows its step."""
        share, zero = self.batch.share(), np.zeros(1, np.int64)
        if size == 1:
            return share
        whole = partial(_shares_of, self.step)
        return share._replace(steps=InSteps(zero + self.micro, zero, len(self.step), whole))


def _share_of(window: Window[Any], numbers: IntArray) -> list[Share]:
    return [window.share(numbers)]


def _shares_of(batches: Sequence[PlannedBatch]) -> list[Share]:
    return [batch.share() for batch in batches]


def _turns(
    plan: WindowedPlan[AnyBatch], start: int, begin: int, ranks: _Ranks
) -> Iterator[_Some[AnyBatch] | _One[AnyBatch]]:
    """What the worker takes, in its order: batches of a window, and alone what waited or was dealt anew."""
    size, each = ranks.size, ranks.accumulate
    first = begin + (start - begin) // size * size
    given = -((start - first) // ranks.world_size)  # the rank's batches: of a step begun before, less than 0
    waiting, rows, keys = list[AnyBatch](), np.arange(0), np.arange(0)
    for base, window in plan.windows(first):
        skipped, held = max(0, first - base), len(waiting)
        moved = skipped - held  # batch i is `waiting[i]`, or `window[i + moved]`; it has `rows[i]` real rows
        rows = np.concatenate([rows, window.real_rows[skipped:]])
        keys = np.concatenate([keys, window.starts[skipped:]])
        steps, full = len(rows) // size, len(rows) // size * size
        order = _largest_first(keys[:full].reshape(steps, size), sort=each > 1)
        numbers = order[:, ranks.slots].ravel()
        uneven = _uneven_steps(rows[:full].reshape(steps, size))
        ahead = np.arange(steps * each)
        ahead = ahead[(ahead + given >= 0) & ((ahead + given) % ranks.num_workers == ranks.worker)]
        alone = uneven[ahead // each] | (ahead // each * size < held)
        after = 0
        for at in [*np.flatnonzero(alone).tolist(), len(ahead)]:
            if at > after:
                some = ahead[after:at]
                yield _Some(window, numbers[some] + moved, some // each * size + moved, some % each)
            after = at + 1
            if at < len(ahead):
                step, micro = divmod(int(ahead[at]), each)
                batches = _between(step * size, (step + 1) * size, waiting, window, moved)
                in_order = [batches[i - step * size] for i in order[step].tolist()]
                yield _dealt(in_order, ranks, micro, plan, anew=bool(uneven[step]))
        given += steps * each
        waiting, rows, keys = _between(full, len(rows), waiting, window, moved), rows[full:], keys[full:]
    if waiting and not plan.drop_last:
        for micro in range(each):
            if given + micro >= 0 and (given + micro) % ranks.num_workers == ranks.worker:
                yield _dealt(waiting, ranks, micro, plan, anew=True)


def _largest_first(keys: IntArray, *, sort: bool) -> IntArray:
    """int64[steps, group]: the numbers of batches, each step's largest first: those have a window's first rows."""
    order = np.arange(keys.size).reshape(keys.shape)
    return np.take_along_axis(order, np.argsort(keys, axis=1, kind="stable"), 1) if sort else order


def _dealt(
    step: Sequence[AnyBatch], ranks: _Ranks, micro: int, plan: WindowedPlan[AnyBatch], *, anew: bool
) -> _One[AnyBatch]:
    """A rank's batch of a step whose batches lie largest first, dealt out anew if they must be."""
    batches = deal_rows(step, ranks.size, static=plan.static) if anew else step
    return _One(batches[int(ranks.slots[micro])], batches, micro)


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
