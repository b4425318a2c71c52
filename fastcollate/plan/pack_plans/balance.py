"""Packs of equal work for all ranks: neighbours in cost share a step, and what is left is dealt by documents.

A pack of one long document costs more than one of many short ones, because attention grows with the square of a
document's length. Sorted by cost, neighbours differ little, however far apart the ends are.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from fastcollate.plan.shares import Pieces
from fastcollate.ragged import IntArray, offsets_of, rows_between

__all__ = ["balance_packs", "work_of"]

_ROUNDS = 64  # in which each pack gets the document that suits it; those left then are small


def work_of(lengths: IntArray, balance: int) -> IntArray:
    """Return int64[D]: what documents of `lengths: int64[D]` cost: L + L**2 / balance each, times `balance`.

    >>> work_of(np.array([4, 8]), 8)  # 8 * (4 + 2) and 8 * (8 + 8)
    array([ 48, 128])
    """
    return lengths * (lengths + balance)


def balance_packs(
    pieces: Pieces,
    edges: IntArray,
    work: IntArray,
    *,
    group: int,
    batch_size: int,
    length: int,
    multiple_of: int = 1,
    most: int | None = None,
) -> tuple[Pieces, IntArray]:
    """Return the documents with packs in an order in which the batches of each step cost as much: see `edges`.

    The costliest packs come first, and the batches of a step take turns in taking one, there and back. The
    documents of the last packs, as many as a step has batches or fewer, are dealt out one by one: so every batch
    of the last step has some, unless there are fewer documents than batches.

    Costs 9 8 7 6 5 4 3 2 in a step of two batches of four packs: one batch has 9 6 5 2, the other 8 7 4 3.

    Args:
        pieces: The documents, pack by pack.
        edges: Where each pack begins, before and after: int64[P+1].
        work: What each document costs: int64[D].
        group: The batches of a step.
        batch_size: The packs of a batch.
        length: The cells of a pack.
        multiple_of: The number that the cells of each document are rounded up to a multiple of.
        most: The documents of a pack at most; None for any number.
    """
    before, counts = offsets_of(work), edges[1:] - edges[:-1]
    order = np.argsort(before[edges[:-1]] - before[edges[1:]], kind="stable")
    whole = (len(order) - 1) // group * group
    rest, order = np.sort(order[whole:]), order[:whole]
    documents = rows_between(edges[rest], counts[rest])
    packs = np.arange(len(rest)).repeat(counts[rest])
    cells = -(-pieces.lengths[documents] // multiple_of) * multiple_of
    packs = _deal_documents(cells, work[documents], packs, min(group, len(documents)), (length, most))
    last = documents[np.argsort(packs, kind="stable")]
    places = np.concatenate([rows_between(edges[order], counts[order]), last])
    counts = np.concatenate([counts[order], np.bincount(packs)])
    if batch_size > 1:
        turns, begins = _there_and_back(len(counts), group, batch_size), offsets_of(counts)
        places, counts = places[rows_between(begins[turns], counts[turns])], counts[turns]
    return pieces.at(places), offsets_of(counts)


def _there_and_back(packs: int, group: int, batch_size: int) -> IntArray:
    """int64[P]: sorted packs batch by batch, each batch's from rounds in which all take one, there and back.

    A last step whose last round is not full stays sorted.
    """
    full = packs // (group * batch_size) * batch_size  # rounds of full steps
    last = packs // group - full if packs % group == 0 else 0
    rounds = np.arange((full + last) * group).reshape(-1, group)
    within = np.arange(full + last) % batch_size
    rounds[within % 2 == 1] = rounds[within % 2 == 1, ::-1]
    taken = rounds[:full].reshape(-1, batch_size, group).swapaxes(1, 2)
    return np.concatenate([taken.ravel(), rounds[full:].T.ravel(), np.arange(rounds.size, packs)])


def _deal_documents(
    cells: IntArray, work: IntArray, packs: IntArray, count: int, room: tuple[int, int | None]
) -> IntArray:
    """int64[D]: a new pack for each document, of `count` packs with `room` for so many cells, and documents.

    Where there are fewer documents than packs, each is a pack. Else, the costliest documents first, each pack in
    turn gets one, the lightest pack the costliest. Where a pack then is too full, `packs` are halved instead.
    """
    order = np.argsort(-work, kind="stable")
    loads, found = np.zeros(count, np.int64), np.empty(len(cells), np.int64)
    for first in range(0, min(len(order), count * _ROUNDS), count):
        documents = order[first : first + count]
        lightest = np.argsort(loads, kind="stable")[: len(documents)]
        found[documents] = lightest
        loads[lightest] += work[documents]
    rest = order[count * _ROUNDS :]
    found[rest] = np.arange(len(rest)) % count
    most, held = room[1], int(np.bincount(found).max())
    if int(np.bincount(found, cells, count).max()) <= room[0] and (most is None or held <= most):
        return found
    return _halve(work, packs, count)


def _halve(work: IntArray, packs: IntArray, count: int) -> IntArray:
    """int64[D]: packs of which the costliest with two documents is halved until there are `count`."""
    order = np.lexsort((-work, packs))
    parts = np.split(order, np.flatnonzero(np.diff(packs[order])) + 1)
    found = packs.copy()
    most = [(-int(work[part].sum()), number, part) for number, part in enumerate(parts)]
    heapify(most)
    while len(parts) < count:
        _, number, part = heappop(most)
        if len(part) == 1:
            continue
        second = np.isin(np.arange(len(part)) % 4, (1, 2))
        found[part[second]] = len(parts)
        for name, half in ((number, part[~second]), (len(parts), part[second])):
            heappush(most, (-int(work[half].sum()), name, half))
        parts.append(part)
    return found
