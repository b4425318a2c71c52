"""What can be asked of a plan, checked once, with messages that say how to ask."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from fastcollate.errors import PlanError
from fastcollate.plan.bucket_plan import EpochPlan
from fastcollate.plan.order import LengthsAt
from fastcollate.plan.pack_plan import PackPlan
from fastcollate.plan.widths import check_widths, optimal_widths
from fastcollate.ragged import IntArray

_LARGEST = 2**40  # what a store can hold
_NO_RECORDS = "the store has no records: there is nothing to plan; give the split a larger share"

__all__ = ["check_at_least_one", "check_integer", "check_world", "choose_widths", "make_pack_plan", "make_plan"]


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


def check_at_least_one(name: str, value: int) -> int:
    """An integer from 1.

    Raises:
        PlanError: naming the argument.
    """
    number = check_integer(name, value)
    if number < 1:
        raise PlanError(f"{name} is {value}: it must be at least 1")
    return number


def check_world(rank: int, world_size: int) -> tuple[int, int]:
    """A rank of a world.

    Raises:
        PlanError: a world of nobody, or a rank outside it.
    """
    if check_integer("world_size", world_size) < 1 or check_integer("rank", rank) >= world_size:
        raise PlanError(f"rank {rank} of world_size {world_size}: ranks go from 0 to world_size - 1")
    return index(rank), index(world_size)


def make_plan(
    histogram: tuple[IntArray, IntArray],
    lengths_at: LengthsAt,
    *,
    batch_size: int | None,
    max_tokens: int | None,
    buckets: Sequence[int] | int | None,
    shuffle: bool,
    seed: int,
    window: int,
    drop_last: bool,
    group: int,
    shuffle_block: int,
    longest_first: bool,
) -> EpochPlan:
    """The plan of epoch 0 over records with this length `histogram` (int64[M] lengths, int64[M] counts).

    Raises:
        PlanError: naming the argument and the rule.
    """
    lengths, counts = histogram
    if len(lengths) == 0:
        raise PlanError(_NO_RECORDS)
    _check_sizes(batch_size, max_tokens, window, shuffle_block)
    widths = choose_widths(buckets, lengths, counts)
    if max_tokens is not None:
        _check_budget(max_tokens, widths, histogram, lengths_at)
    return EpochPlan(
        num_records=int(counts.sum()),
        lengths_at=lengths_at,
        batch_size=None if batch_size is None else index(batch_size),
        max_tokens=None if max_tokens is None else index(max_tokens),
        widths=widths,
        shuffle=bool(shuffle),
        seed=check_integer("seed", seed),
        epoch=0,
        window=index(window),
        drop_last=bool(drop_last),
        group=group,
        shuffle_block=index(shuffle_block),
        longest_first=longest_first,
    )


def make_pack_plan(
    histogram: tuple[IntArray, IntArray],
    lengths_at: LengthsAt,
    *,
    length: int,
    batch_size: int,
    strategy: str,
    overlong: str,
    shuffle: bool,
    seed: int,
    window: int,
    drop_last: bool,
    group: int,
) -> PackPlan:
    """The plan of epoch 0 of packs over records with this length `histogram`; see `make_plan`.

    Raises:
        PlanError: naming the argument and the rule, or the first record that is too long for a pack.
    """
    if len(histogram[0]) == 0:
        raise PlanError(_NO_RECORDS)
    _check_packing(length, strategy, overlong)
    if strategy == "best_fit" and overlong == "error":
        _check_documents(length, histogram, lengths_at)
    return PackPlan(
        num_records=int(histogram[1].sum()),
        lengths_at=lengths_at,
        batch_size=check_at_least_one("batch_size", batch_size),
        shuffle=shuffle,
        seed=check_integer("seed", seed),
        epoch=0,
        window=check_at_least_one("window", window),
        drop_last=drop_last,
        group=group,
        length=index(length),
        strategy=strategy,
        overlong=overlong,
    )


def _check_packing(length: int, strategy: str, overlong: str) -> None:
    if check_integer("length", length) < 2:
        raise PlanError(f"length is {length}: a pack needs at least 2 tokens")
    if strategy not in ("best_fit", "wrap"):
        raise PlanError(f"strategy is {strategy!r}: it must be 'best_fit' or 'wrap'")
    if overlong not in ("error", "truncate", "drop", "split"):
        raise PlanError(f"overlong is {overlong!r}: it must be 'error', 'truncate', 'drop' or 'split'")


def _check_budget(
    max_tokens: int, widths: list[int] | None, histogram: tuple[IntArray, IntArray], lengths_at: LengthsAt
) -> None:
    longest = int(histogram[0][-1])
    widest = widths[-1] if widths else longest
    if widest > max_tokens:
        record, tokens = _first_longer(longest - 1, histogram, lengths_at)
        raise PlanError(
            f"{record} has {tokens} tokens and would be padded to {widest}, more than max_tokens={max_tokens}: "
            "raise max_tokens or set max_length"
        )


def _check_documents(length: int, histogram: tuple[IntArray, IntArray], lengths_at: LengthsAt) -> None:
    if histogram[0][-1] > length:
        record, tokens = _first_longer(length, histogram, lengths_at)
        raise PlanError(
            f"{record} has {tokens} tokens, more than a pack of {length}: "
            'raise length, or choose overlong="truncate", "drop" or "split"'
        )


def _first_longer(limit: int, histogram: tuple[IntArray, IntArray], lengths_at: LengthsAt) -> tuple[str, int]:
    """The first record of more than `limit` tokens, for a message, and how many it has.

    A mixture may leave all such records out of epoch 0; then it has no number yet.
    """
    records = int(histogram[1].sum())
    for begin in range(0, records, 65_536):
        lengths = lengths_at(np.arange(begin, min(begin + 65_536, records)))
        if len(over := np.flatnonzero(lengths > limit)):
            return f"record {begin + over[0]}", int(lengths[over[0]])
    return "a record", int(histogram[0][-1])


def _check_sizes(batch_size: int | None, max_tokens: int | None, window: int, shuffle_block: int) -> None:
    if (batch_size is None) == (max_tokens is None):
        got = "neither" if batch_size is None else "both"
        raise PlanError(f"batch_size and max_tokens: {got} given; give exactly one of them")
    sizes = {"batch_size": batch_size, "max_tokens": max_tokens, "window": window, "shuffle_block": shuffle_block}
    for name, value in sizes.items():
        if value is not None and check_at_least_one(name, value) > _LARGEST:
            raise PlanError(f"{name} is {value}: it must be at most {_LARGEST}")
    if batch_size is not None and window < batch_size:
        raise PlanError(
            f"window is {window}, smaller than a batch of {batch_size}: sort at least one batch at a time"
        )


def choose_widths(buckets: Sequence[int] | int | None, lengths: IntArray, counts: IntArray) -> list[int] | None:
    """The static widths for a length histogram (int64[M] each, distinct rising lengths), or None for free widths.

    Raises:
        PlanError: buckets that do not rise or do not hold the longest record.
    """
    if buckets is None:
        return None
    if isinstance(buckets, Sequence):
        widths = [check_integer("a bucket's width", width) for width in buckets]
        return check_widths(widths, int(lengths[-1]))
    if check_integer("buckets", buckets) < 1:
        raise PlanError(f"buckets is {buckets}: give a list of widths, or how many to choose, at least 1")
    return optimal_widths(lengths, counts, buckets)
