from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from fastcollate.errors import PlanError
from fastcollate.plan.buckets.bucket_plan import Buckets
from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.grouped.group_buckets import GroupBuckets
from fastcollate.plan.grouped.group_packs import GroupPacks
from fastcollate.plan.order import WindowedPlan
from fastcollate.plan.pack_plans.pack_plan import PackPlan, WrappedPacks
from fastcollate.ragged import Capacity, IntArray

__all__ = ["within"]

AnyPlan = TypeVar("AnyPlan", bound=WindowedPlan[Any])
Histogram = tuple[IntArray, IntArray]


def within(plan: AnyPlan, capacity: Capacity | None, histogram: Histogram) -> AnyPlan:
    """Return the same plan with batches that a collator of this capacity holds, in any epoch.

    Args:
        plan: The plan.
        capacity: What a batch has room for; None where any batch fits, and the plan is returned as it is.
        histogram: The distinct lengths of the records, rising, and how many have each: int64[M] both.

    Raises:
        PlanError: Not every batch is sure to fit, whatever is planned; the argument that is too small is named.
    """
    if capacity is None:
        return plan
    cells, documents, asked = _least_needed(plan, capacity, histogram)
    for name, given, needed in (("total", capacity.total, cells), ("documents", capacity.documents, documents)):
        if given is not None and given < needed:
            raise PlanError(
                f"{name} is {given}, but a batch of {asked} may need {needed}: give the collator {name}={needed}, "
                "or plan smaller batches"
            )
    fitted = replace(plan, max_documents=capacity.documents, multiple_of=capacity.multiple_of)
    if isinstance(fitted, GroupBuckets | GroupPacks):
        fitted.check()
    return fitted


def _least_needed(plan: WindowedPlan[Any], capacity: Capacity, histogram: Histogram) -> tuple[int, int, str]:
    """The cells and documents of the largest batch that must be planned, and what was asked for in words."""
    if isinstance(plan, PackPlan):
        _check_multiple(plan, capacity.multiple_of)
        asked = f"{plan.batch_size} pack(s) of {plan.length} tokens"
        documents = _most_pieces(plan, histogram) if isinstance(plan, WrappedPacks) else plan.batch_size
        documents *= plan.groups.largest if isinstance(plan, GroupPacks) else 1
        return plan.batch_size * plan.length, documents, asked
    if not isinstance(plan, Buckets):
        raise PlanError(f"plans of {plan.kind} are not for a collator of a fixed capacity")
    longest = int(histogram[0][-1]) if plan.max_length is None else min(plan.max_length, int(histogram[0][-1]))
    cells = -(-longest // capacity.multiple_of) * capacity.multiple_of
    if isinstance(plan, RowBuckets) or (isinstance(plan, GroupBuckets) and plan.batch_size):
        return plan.batch_size * cells, plan.batch_size, f"{plan.batch_size} records of up to {longest} tokens"
    tokens = plan.max_tokens if isinstance(plan, TokenBuckets) else 0
    if cells > tokens:
        raise PlanError(
            f"max_tokens={tokens} leaves no room for a record of {longest} tokens, which multiple_of="
            f"{capacity.multiple_of} pads to {cells}: raise max_tokens, or set max_length"
        )
    largest = plan.groups.largest if isinstance(plan, GroupBuckets) else 1
    return tokens, largest, f"max_tokens={tokens}"


def _check_multiple(plan: PackPlan, multiple: int) -> None:
    if multiple > 1 and isinstance(plan, WrappedPacks):
        raise PlanError(
            f'strategy="wrap" fills packs to the last token: it leaves no room to pad documents to multiple_of='
            f'{multiple}; choose strategy="best_fit"'
        )
    if plan.length % multiple:
        less = plan.length // multiple * multiple
        fix = f"length={less} or {less + multiple}" if less else f"length={multiple} or a multiple of it"
        raise PlanError(
            f"length is {plan.length}: documents that are padded to multiple_of={multiple} fill packs of a "
            f"multiple of it; choose {fix}"
        )


def _most_pieces(plan: WrappedPacks, histogram: Histogram) -> int:
    """The pieces that a batch of a joined stream can have: whole shortest documents, and one more at each cut."""
    lengths, counts = histogram
    tokens, ends = plan.batch_size * plan.length, np.cumsum(lengths * counts)
    full = int(np.searchsorted(ends, tokens, "right"))  # of so many lengths all documents
    left = tokens - (int(ends[full - 1]) if full else 0)
    rest = left // int(lengths[full]) if full < len(lengths) else 0
    return int(counts[:full].sum()) + rest + plan.batch_size + 1
