"""What can be asked of a plan, checked once, with messages that say how to ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastcollate.arguments import check_choice, check_count, check_flag
from fastcollate.errors import PlanError
from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.grouped.group_buckets import GroupBuckets
from fastcollate.plan.grouped.group_packs import GroupPacks
from fastcollate.plan.grouped.groups import Groups
from fastcollate.plan.order import Lengths
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks
from fastcollate.plan.pack_plans.targets import TARGETS
from fastcollate.plan.widths import choose_widths
from fastcollate.ragged import IntArray

__all__ = ["check_world", "plan_buckets", "plan_packs"]

Histogram = tuple[IntArray, IntArray]

_LARGEST = 2**40  # what a store can hold
_MOST_LANES = 4096  # of nodes that read each its own part
_LONGEST = 2**31 - 1  # of which a square is an int64
_AT_A_TIME = 65_536  # records whose lengths are looked at


def check_world(rank: int, world_size: int) -> tuple[int, int]:
    """Return (rank, world_size) as Python ints.

    Raises:
        PlanError: a world of nobody, or a rank outside it.

    >>> check_world(1, 4)
    (1, 4)
    """
    rank = check_count("rank", rank, error=PlanError)
    world_size = check_count("world_size", world_size, error=PlanError)
    if rank >= world_size:
        raise PlanError(f"rank {rank} of world_size {world_size}: ranks go from 0 to world_size - 1")
    return rank, world_size


def plan_buckets(
    histogram: Histogram,
    records: Lengths,
    *,
    batch_size: int | None = None,
    max_tokens: int | None = None,
    max_length: int | None = None,
    buckets: Sequence[int] | int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    window: int = 65_536,
    longest_first: bool = False,
    drop_last: bool = False,
    shuffle_block: int = 1,
    lanes: int = 1,
    group: int = 1,
    groups: Groups | None = None,
) -> RowBuckets | TokenBuckets:
    """Return the plan of epoch 0 with batches of records of similar length.

    Args:
        histogram: The distinct lengths of the records, rising, and how many have each: int64[M] both.
        records: The records of epoch 0.
        batch_size: The rows of a batch; give either it or `max_tokens`.
        max_tokens: The padded tokens of a batch at most; give either it or `batch_size`.
        max_length: How many tokens of a record are used at most; all by default.
        buckets: The widths batches are padded to, rising, or how many to choose; by default none are fixed.
        shuffle: Whether records and steps are shuffled; True by default.
        seed: The seed of the shuffle, from 0.
        window: How many records are sorted by length together; 65,536 by default.
        longest_first: Whether the epoch begins with its largest step; False by default.
        drop_last: Whether the epoch's last step is dropped if it is not full; False by default.
        shuffle_block: How many consecutive records stay together in the shuffle; 1, none, by default.
        lanes: How many windows are planned side by side; 1 by default.
        group: How many batches a step has, one for each rank; 1 by default.
        groups: Which records come in one batch; by default each is alone.

    Raises:
        PlanError: an argument that makes no plan over these records, named with the rule.

    >>> from types import SimpleNamespace
    >>> lengths = np.array([3, 9, 4, 8])
    >>> records = SimpleNamespace(lengths_at=lambda indices: lengths[indices])
    >>> plan = plan_buckets(np.unique(lengths, return_counts=True), records, batch_size=2, shuffle=False)
    >>> [batch.record_ids.tolist() for batch in plan.plan_window(0)]
    [[1, 3], [2, 0]]
    """
    size = _one_size(batch_size, max_tokens)
    same = {"shuffle": shuffle, "shuffle_block": shuffle_block, "seed": seed, "window": window}
    common = _common(histogram, records, {**same, "drop_last": drop_last, "group": group})
    if max_length is not None:
        max_length = check_count("max_length", max_length, 1, error=PlanError)
    clipped = _clipped(*histogram, max_length)
    common |= {
        "max_length": max_length,
        "widths": choose_widths(buckets, *clipped),
        "longest_first": check_flag("longest_first", longest_first, error=PlanError),
        "lanes": _lanes(lanes),
    }
    if groups is not None:
        return _plan_group_buckets(groups, (size, 0) if max_tokens is None else (0, size), common)
    if max_tokens is not None:
        return _within_budget(TokenBuckets(max_tokens=size, **common), clipped)
    if window < size:
        raise PlanError(f"window is {window}, smaller than a batch of {size}: sort at least one batch at a time")
    return RowBuckets(batch_size=size, **common)


def plan_packs(
    histogram: Histogram,
    records: Lengths,
    *,
    length: int,
    batch_size: int = 1,
    strategy: str = "best_fit",
    overlong: str = "error",
    shuffle: bool = True,
    seed: int = 0,
    window: int = 65_536,
    drop_last: bool = False,
    shuffle_block: int = 1,
    lanes: int = 1,
    group: int = 1,
    balance: int | str | None = 24_576,
    groups: Groups | None = None,
) -> BestFitPacks | WrappedPacks:
    """Return the plan of epoch 0 with batches of packs of documents.

    Args:
        histogram: The distinct lengths of the records, rising, and how many have each: int64[M] both.
        records: The records of epoch 0.
        length: The tokens of a pack, 2 at least.
        batch_size: The packs of a batch; 1 by default.
        strategy: How packs are filled: `"best_fit"`, the default, or `"wrap"`.
        overlong: What `"best_fit"` does with a record longer than `length`: `"error"`, the default, `"truncate"`,
            `"drop"` or `"split"`.
        shuffle: Whether records and steps are shuffled; True by default.
        seed: The seed of the shuffle, from 0.
        window: How many records are packed together; 65,536 by default.
        drop_last: Whether the epoch's last step is dropped if it is not full; False by default.
        shuffle_block: How many consecutive records stay together in the shuffle; 1, none, by default.
        lanes: How many windows are planned side by side; 1 by default.
        group: How many batches a step has, one for each rank; 1 by default.
        balance: The length at which a document's attention costs as much as all else that is done with it, 24,576
            by default: packs of a step are neighbours in cost. With `"targets"` they are neighbours in targets,
            with None they are dealt as they come.
        groups: Which records come in one batch; by default each is alone.

    Raises:
        PlanError: an argument that makes no plan over these records, named with the rule; or the first record that
            is too long for a pack.

    >>> from types import SimpleNamespace
    >>> lengths = np.array([3, 9, 4, 8])
    >>> records = SimpleNamespace(lengths_at=lambda indices: lengths[indices])
    >>> plan = plan_packs(np.unique(lengths, return_counts=True), records, length=12, shuffle=False)
    >>> [batch.record_ids.tolist() for batch in plan.plan_window(0)]
    [[0, 1], [2, 3]]
    """
    same = {"shuffle": shuffle, "shuffle_block": shuffle_block, "seed": seed, "window": window}
    common = _common(histogram, records, {**same, "drop_last": drop_last, "group": group})
    common |= {
        "length": check_count("length", length, 2, error=PlanError),
        "batch_size": _size("batch_size", batch_size),
        "lanes": _lanes(lanes),
        "balance": _balance(balance),
    }
    check_choice("overlong", overlong, ("error", "truncate", "drop", "split"), error=PlanError)
    if check_choice("strategy", strategy, ("best_fit", "wrap"), error=PlanError) == "wrap":
        if groups is not None:
            raise PlanError('strategy="wrap" cuts groups apart: choose strategy="best_fit" with groups=True')
        return WrappedPacks(**common)
    if groups is not None:
        return _plan_groups(groups, overlong, common)
    plan = BestFitPacks(overlong=overlong, **common)
    if overlong == "error":
        _check_documents(plan, histogram)
    return plan


def _plan_group_buckets(groups: Groups, sizes: tuple[int, int], common: dict[str, Any]) -> GroupBuckets:
    if common["lanes"] > 1:
        raise PlanError(
            f"lanes is {common['lanes']} with groups=True: the lanes of buckets are cut record by record, which "
            "would tear groups apart; leave lanes out, or use a PackedDataset, which keeps groups whole in lanes"
        )
    common |= {"groups": groups, "num_records": len(groups)}
    plan = GroupBuckets(batch_size=sizes[0], max_tokens=sizes[1], **common)
    plan.check()
    return plan


def _plan_groups(groups: Groups, overlong: str, common: dict[str, Any]) -> GroupPacks:
    if overlong != "error":
        raise PlanError(
            f"overlong={overlong!r} with groups=True would tear groups apart: prepare with max_length=, or choose "
            'overlong="error"'
        )
    plan = GroupPacks(overlong=overlong, **{**common, "groups": groups, "num_records": len(groups)})
    plan.check()
    return plan


def _common(histogram: Histogram, records: Lengths, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every plan has, checked."""
    if len(histogram[0]) == 0:
        raise PlanError("the store has no records: there is nothing to plan; give the split a larger share")
    return {
        "num_records": int(histogram[1].sum()),
        "shuffle": check_flag("shuffle", given["shuffle"], error=PlanError),
        "shuffle_block": _size("shuffle_block", given["shuffle_block"]),
        "seed": check_count("seed", given["seed"], error=PlanError),
        "window": _size("window", given["window"]),
        "drop_last": check_flag("drop_last", given["drop_last"], error=PlanError),
        "epoch": 0,
        "group": _size("group", given["group"]),
        "records": records,
    }


def _lanes(lanes: int) -> int:
    return check_count("lanes", lanes, 1, most=_MOST_LANES, error=PlanError)


def _balance(balance: int | str | None) -> int | str | None:
    if balance is None or (isinstance(balance, str) and balance == TARGETS):
        return balance
    if isinstance(balance, str):
        raise PlanError(f"balance is {balance!r}: it must be a length of 1 token or more, {TARGETS!r} or None")
    return check_count("balance", balance, 1, most=_LONGEST, error=PlanError)


def _one_size(batch_size: int | None, max_tokens: int | None) -> int:
    if (batch_size is None) == (max_tokens is None):
        got = "neither" if batch_size is None else "both"
        raise PlanError(f"batch_size and max_tokens: {got} given; give exactly one of them")
    return _size("batch_size", batch_size) if max_tokens is None else _size("max_tokens", max_tokens)


def _size(name: str, value: int | None) -> int:
    """A number of records, rows or tokens, as a Python int."""
    size = check_count(name, value, 1, error=PlanError)
    if size > _LARGEST:
        raise PlanError(f"{name} is {size}: it must be at most {_LARGEST}")
    return size


def _clipped(lengths: IntArray, counts: IntArray, max_length: int | None) -> Histogram:
    """A length histogram (int64[M] each) after records are cut to `max_length`."""
    if max_length is None or max_length >= lengths[-1]:
        return lengths, counts
    kept = int(np.searchsorted(lengths, max_length))
    return np.append(lengths[:kept], max_length), np.append(counts[:kept], counts[kept:].sum())


def _within_budget(plan: TokenBuckets, histogram: Histogram) -> TokenBuckets:
    """The plan, if its longest record fits a batch."""
    longest = int(histogram[0][-1])
    widest = plan.widths[-1] if plan.widths else longest
    if widest > plan.max_tokens:
        record, tokens = _first_longer(longest - 1, plan, histogram)
        raise PlanError(
            f"{record} has {tokens} tokens and would be padded to {widest}, "
            f"more than max_tokens={plan.max_tokens}: raise max_tokens or set max_length"
        )
    return plan


def _check_documents(plan: BestFitPacks, histogram: Histogram) -> None:
    if histogram[0][-1] > plan.length:
        record, tokens = _first_longer(plan.length, plan, histogram)
        raise PlanError(
            f"{record} has {tokens} tokens, more than a pack of {plan.length}: "
            'raise length, or choose overlong="truncate", "drop" or "split"'
        )


def _first_longer(limit: int, plan: Lengths, histogram: Histogram) -> tuple[str, int]:
    """The first record of more than `limit` tokens, for a message, and how many it has.

    A mixture may leave all such records out of epoch 0; then it has no number yet.
    """
    records = int(histogram[1].sum())
    for begin in range(0, records, _AT_A_TIME):
        lengths = plan.lengths_at(np.arange(begin, min(begin + _AT_A_TIME, records)))
        if len(over := np.flatnonzero(lengths > limit)):
            return f"record {begin + over[0]}", int(lengths[over[0]])
    return "a record", int(histogram[0][-1])
