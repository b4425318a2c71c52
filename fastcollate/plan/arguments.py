"""What can be asked of a plan, checked once, with messages that say how to ask."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from fastcollate.errors import PlanError
from fastcollate.plan.widths import check_widths, optimal_widths
from fastcollate.ragged import IntArray

__all__ = ["check_batching", "check_integer", "check_world", "choose_widths"]


def check_integer(name: str, value: int) -> int:
    """An integer from 0 to 2^63 - 1, as a Python int.

    Raises:
        PlanError: naming the argument.
    """
    try:
        number = index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number < 2**63:
        raise PlanError(f"{name} is {value!r}: it must be an integer from 0 to 2**63 - 1")
    return number


def check_world(rank: int, world_size: int) -> tuple[int, int]:
    """A rank of a world.

    Raises:
        PlanError: a world of nobody, or a rank outside it.
    """
    if check_integer("world_size", world_size) < 1 or check_integer("rank", rank) >= world_size:
        raise PlanError(f"rank {rank} of world_size {world_size}: ranks go from 0 to world_size - 1")
    return rank, world_size


def check_batching(
    records: int, batch_size: int | None, max_tokens: int | None, max_length: int | None, window: int
) -> None:
    """Exactly one way to size batches, and a window that holds one.

    Raises:
        PlanError: naming the argument and the rule.
    """
    if records == 0:
        raise PlanError("the store has no records: there is nothing to plan; give the split a larger share")
    if (batch_size is None) == (max_tokens is None):
        got = "neither" if batch_size is None else "both"
        raise PlanError(f"batch_size and max_tokens: {got} given; give exactly one of them")
    sizes = {"batch_size": batch_size, "max_tokens": max_tokens, "max_length": max_length, "window": window}
    for name, value in sizes.items():
        if value is not None and check_integer(name, value) < 1:
            raise PlanError(f"{name} is {value}: it must be at least 1")
    if batch_size is not None and window < batch_size:
        raise PlanError(
            f"window is {window}, smaller than a batch of {batch_size}: sort at least one batch at a time"
        )


def choose_widths(buckets: Sequence[int] | int | None, lengths: IntArray, counts: IntArray) -> list[int] | None:
    """The static widths for a length histogram (int64[M] each, lengths in order), or None for free widths.

    Raises:
        PlanError: buckets that do not rise or do not hold the longest record.
    """
    if buckets is None:
        return None
    distinct, place = np.unique(lengths, return_inverse=True)  # cutting to max_length makes equal ones
    totals = np.zeros(len(distinct), np.int64)
    np.add.at(totals, place, counts)
    if isinstance(buckets, Sequence):
        widths = [check_integer("a bucket's width", width) for width in buckets]
        return check_widths(widths, int(lengths[-1]))
    if check_integer("buckets", buckets) < 1:
        raise PlanError(f"buckets is {buckets}: give a list of widths, or how many to choose, at least 1")
    return optimal_widths(distinct, totals, buckets)
