"""Packs of a limited number of documents: short documents are tied to long ones, then packed as if they were one.

A pack of C tokens that may have D documents stays within D if each of its documents has C / D tokens. Shorter
ones lack some; a long document has them to spare. So short documents are bundled with long ones until each bundle
of n documents has n * C / D tokens, and what is packed is bundles: those of a pack never have more than D
documents, and nothing need be counted meanwhile. A short document that finds no long one takes the room of C / D
tokens.

Bundles are coarse and leave gaps. The shortest documents, about as many tokens as would fill a part of the gaps,
are therefore kept back and put into these, as far as a pack has not had its D documents.
"""

from __future__ import annotations

import numpy as np

from fastcollate.plan.pack_plans.best_fit import best_fit_decreasing
from fastcollate.plan.sorting import longest_first
from fastcollate.ragged import IntArray

__all__ = ["bundled_best_fit"]

_KEPT_BACK = 0.5  # of the tokens that gaps have room for: more would not all find a gap


def bundled_best_fit(lengths: IntArray, capacity: int, most: int) -> tuple[IntArray, int]:
    """Return the pack of each document, int64[N], and how many packs there are.

    Args:
        lengths: The tokens of each document, longest first, each from 1 to `capacity`: int64[N].
        capacity: The tokens of a pack.
        most: The documents of a pack at most.

    >>> bundled_best_fit(np.array([6, 5, 4, 4, 1]), 10, most=2)
    (array([0, 1, 1, 2, 2]), 3)
    """
    packs, count = best_fit_decreasing(lengths, capacity)
    if not len(packs) or int(np.bincount(packs).max()) <= most:
        return packs, count
    packs, count = _pack_bundles(lengths, capacity, most)
    gaps = count * capacity - int(lengths.sum())
    short = int(np.searchsorted(lengths[::-1].cumsum(), gaps * _KEPT_BACK))
    kept = len(lengths) - short
    others, fewer = _pack_bundles(lengths[:kept], capacity, most)
    others, fewer = _fill_gaps(lengths, others, fewer, capacity=capacity, most=most)
    return (others, fewer) if fewer < count else (packs, count)


def _pack_bundles(lengths: IntArray, capacity: int, most: int) -> tuple[IntArray, int]:
    """The pack of each document, and how many packs there are: bundles by best fit decreasing."""
    owner = _tie(lengths, capacity, most)
    bundle = (np.cumsum(owner == np.arange(len(owner))) - 1)[owner]
    tokens, counts = np.bincount(bundle, lengths).astype(np.int64), np.bincount(bundle)
    sizes = np.maximum(tokens, -(-counts * capacity // most))
    order = longest_first(sizes)
    packed, count = best_fit_decreasing(sizes[order], capacity)
    home = np.empty_like(packed)
    home[order] = packed
    return home[bundle], count


def _tie(lengths: IntArray, capacity: int, most: int) -> IntArray:
    """int64[N]: the long document that each short one is tied to, and of others their own number.

    Capacity 12 and 4 documents, lengths [7 4 1 1]: times 4, the first two have 16 and 4 more than 12, and the last
    ones 8 less each. The first takes both: [0 1 0 0].
    """
    spare = lengths * most - capacity
    owner, long = np.arange(len(lengths)), int(np.count_nonzero(spare >= 0))
    lacking = np.cumsum(np.append(0, -spare[long:][::-1]))  # of the shortest ones: they are tied first
    tokens = np.cumsum(np.append(0, lengths[long:][::-1]))
    rooms = zip(spare[:long].tolist(), (capacity - lengths[:long]).tolist(), strict=True)
    begin, last = 0, len(lengths)
    for number, (most_lacking, most_tokens) in enumerate(rooms):
        if begin == len(lacking) - 1:
            break
        ends = (
            lacking.searchsorted(lacking[begin] + most_lacking, "right"),
            tokens.searchsorted(tokens[begin] + most_tokens, "right"),
        )
        end = int(min(ends)) - 1
        owner[last - end : last - begin] = number
        begin = end
    return owner


def _fill_gaps(
    lengths: IntArray, packs: IntArray, count: int, *, capacity: int, most: int
) -> tuple[IntArray, int]:
    """Put the documents after those of `packs` into their gaps, longest first, and what is left into new packs."""
    kept = len(packs)
    gaps = capacity - np.bincount(packs, lengths[:kept], count).astype(np.int64)
    free = most - np.bincount(packs, minlength=count)
    order, waiting, bits = np.argsort(gaps, kind="stable"), dict[int, list[int]](), 0
    for number, length in enumerate(lengths[kept:].tolist(), kept):
        waiting.setdefault(length, []).append(number)
        bits |= 1 << length
    home = np.append(packs, np.full(len(lengths) - kept, -1))
    for pack, gap, left in zip(order.tolist(), gaps[order].tolist(), free[order].tolist(), strict=True):
        while left and (fitting := bits & ((2 << gap) - 1)):
            length = fitting.bit_length() - 1
            home[waiting[length].pop()] = pack
            if not waiting[length]:
                bits ^= 1 << length
            gap, left = gap - length, left - 1  # noqa: PLW2901
    rest = np.flatnonzero(home < 0)
    packed, more = _pack_bundles(lengths[rest], capacity, most) if len(rest) else (rest, 0)
    home[rest] = packed + count
    return home, count + more
