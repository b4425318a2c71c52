"""A rank's share of an epoch, and a worker's share of that."""

from __future__ import annotations

from collections.abc import Iterator

from fastcollate.plan.order import PlannedBatch, WindowedPlan

__all__ = ["deal_batches", "rank_batches"]


def rank_batches(
    plan: WindowedPlan, *, start: int, rank: int, world_size: int, worker: int = 0, num_workers: int = 1
) -> Iterator[PlannedBatch]:
    """The batches of one worker of one rank, from global batch `start` on.

    Step s of the run takes global batches `start + s * world_size + rank`; worker w of n takes every n-th
    step. Batches that do not fill a step wait for those of the next window; those left at the epoch's end (a
    run resumed on another world size) are dealt out, so that every rank gets the same number of batches.
    """
    waiting: list[PlannedBatch] = []  # of a step that goes on in the next window
    first, step = start, 0  # the number of the first batch that waits, or is next; its step
    for base, window in plan.windows(plan.locate(start)):
        end = base + len(window)
        steps = max(0, end - first) // world_size
        for ahead in range((worker - step) % num_workers, steps, num_workers):
            batch = first + ahead * world_size + rank
            yield waiting[batch - first] if batch - first < len(waiting) else window[batch - base]
        if steps:
            waiting = []
            first, step = first + steps * world_size, step + steps
        waiting += [window[batch - base] for batch in range(first + len(waiting), end)]
    if waiting and not plan.drop_last and step % num_workers == worker:
        yield deal_batches(waiting, world_size, static=plan.static)[rank]


def deal_batches(pieces: list[PlannedBatch], world_size: int, *, static: bool) -> list[PlannedBatch]:
    """The rows of an epoch's last batches, fewer than `world_size`, as one batch for each rank.

    The batch with the most rows is halved until there are enough, so no batch has more rows, or wider ones,
    than the plan gave it. Where the plan's shapes are static each is filled up again; where there are fewer
    rows than ranks, a filler row stands in.
    """
    rows = [piece.rows if static else 1 for piece in pieces]
    while len(pieces) < world_size:
        most = max(range(len(pieces)), key=lambda i: pieces[i].real_rows)
        pieces[most], half = pieces[most].halves()
        pieces.append(half)
        rows.append(rows[most])
    return [piece.filled(row) for piece, row in zip(pieces, rows, strict=True)]
