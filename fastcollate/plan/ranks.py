"""A rank's share of an epoch, and a worker's share of that."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastcollate.plan.epoch import EpochPlan, PlannedBatch

__all__ = ["deal_batches", "rank_batches"]


def rank_batches(
    plan: EpochPlan, *, start: int, rank: int, world_size: int, worker: int = 0, num_workers: int = 1
) -> Iterator[PlannedBatch]:
    """The batches of one worker of one rank, from global batch `start` on.

    Step s of the run takes global batches `start + s * world_size + rank`; worker w of n takes every n-th
    step. When the batches left are no multiple of `world_size` (a run resumed on another one), the rows of
    the last step are dealt out, so that every rank gets the same number of batches.
    """
    tail = plan.tail(start, world_size)
    end = None if tail == 0 else plan.num_batches - tail
    stride = world_size * num_workers
    mine = start + world_size * worker + rank
    number, base = plan.locate(start)
    for window in plan.windows(number):
        stop = base + len(window) if end is None else min(base + len(window), end)
        for index in range(mine, stop, stride):
            yield window.batch(index - base)
            mine = index + stride
        base += len(window)
        if end is not None and base >= end:
            break
    if end is not None and not plan.drop_last and (end - start) // world_size % num_workers == worker:
        yield deal_batches(plan, end, world_size)[rank]


def deal_batches(plan: EpochPlan, first: int, world_size: int) -> list[PlannedBatch]:
    """The rows of global batches `first` to the end (fewer than `world_size`), one batch for each rank.

    The batch with the most rows is halved until there are enough, so no batch has more rows, or wider ones,
    than the plan gave it. Where the plan's shapes are static each is filled up again; where there are fewer
    rows than ranks, a filler row stands in.
    """
    number, base = plan.locate(first)
    pieces: list[PlannedBatch] = []
    for window in plan.windows(number):
        pieces += [window.batch(i) for i in range(max(0, first - base), len(window))]
        base += len(window)
    rows = [len(piece.record_ids) if plan.widths else 1 for piece in pieces]
    ids = [piece.record_ids[piece.record_ids >= 0] for piece in pieces]
    widths = [piece.width for piece in pieces]
    while len(ids) < world_size:
        most = max(range(len(ids)), key=lambda i: len(ids[i]))
        half = (len(ids[most]) + 1) // 2
        ids.append(ids[most][half:])
        ids[most] = ids[most][:half]
        rows.append(rows[most])
        widths.append(widths[most])
    return [
        PlannedBatch(np.concatenate([real, np.full(max(0, row - len(real)), -1, np.int64)]), width)
        for real, row, width in zip(ids, rows, widths, strict=True)
    ]
