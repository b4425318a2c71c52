"""A rank's share of an epoch, and a worker's share of that."""

from __future__ import annotations

from collections.abc import Iterator

from fastcollate.plan.windows import PlannedBatch, WindowedPlan

__all__ = ["deal_batches", "rank_batches"]


def rank_batches(
    plan: WindowedPlan, *, start: int, rank: int, world_size: int, worker: int = 0, num_workers: int = 1
) -> Iterator[PlannedBatch]:
    """The batches of one worker of one rank, from global batch `start` on.

    Step s of the run takes global batches `start + s * world_size + rank`; worker w of n takes every n-th
    step. When the batches left are no multiple of `world_size` (a run resumed on another one), the rows of
    the last step are dealt out, so that every rank gets the same number of batches.
    """
    tail = plan.tail(start, world_size)
    end = None if tail == 0 else plan.num_batches - tail
    if end is not None and start > end:
        return  # the state of an epoch that was already over
    stride = world_size * num_workers
    mine = start + world_size * worker + rank
    number, base = plan.locate(start)
    for window in plan.windows(number):
        stop = base + len(window) if end is None else min(base + len(window), end)
        for index in range(mine, stop, stride):
            yield window[index - base]
            mine = index + stride
        base += len(window)
        if end is not None and base >= end:
            break
    if end is not None and not plan.drop_last and (end - start) // world_size % num_workers == worker:
        yield deal_batches(plan, end, world_size)[rank]


def deal_batches(plan: WindowedPlan, first: int, world_size: int) -> list[PlannedBatch]:
    """The rows of global batches `first` to the end (fewer than `world_size`), one batch for each rank.

    The batch with the most rows is halved until there are enough, so no batch has more rows, or wider ones,
    than the plan gave it. Where the plan's shapes are static each is filled up again; where there are fewer
    rows than ranks, a filler row stands in.
    """
    number, base = plan.locate(first)
    pieces: list[PlannedBatch] = []
    for window in plan.windows(number):
        pieces += [window[i] for i in range(max(0, first - base), len(window))]
        base += len(window)
    rows = [piece.rows if plan.static else 1 for piece in pieces]
    while len(pieces) < world_size:
        most = max(range(len(pieces)), key=lambda i: pieces[i].real_rows)
        pieces[most], half = pieces[most].halves()
        pieces.append(half)
        rows.append(rows[most])
    return [piece.filled(row) for piece, row in zip(pieces, rows, strict=True)]
