"""Lanes: several windows planned side by side, so that neighbouring ranks read the same one.

A window of a plan with lanes is made of `lanes` windows, one for each lane. Steps are cut from all of them
together, in *units* of as few steps as give each lane the same number of batches: with 8 ranks and 2 lanes each
step has four batches of either lane, with 1 rank and 2 lanes two steps take turns. Rank after rank, the batches of
a unit are one lane's after another's, so that a rank, or a node with several, reads few lanes. They are as long in
one lane as in another, because windows are samples of one distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm

import numpy as np

from fastcollate.plan.shares import Pieces, dealt_evenly
from fastcollate.ragged import IntArray, offsets_of

PackList = tuple[Pieces, IntArray]  # documents, pack by pack, and where each pack begins: int64[P+1]

__all__ = ["cut_lanes", "deal_lanes", "in_lanes", "join_packs", "split_lanes", "unit_of"]


def unit_of(group: int, lanes: int) -> int:
    """Return how many batches a unit has: whole steps, and as many batches of each lane.

    >>> unit_of(8, 2), unit_of(1, 2), unit_of(3, 2)
    (8, 2, 6)
    """
    return lcm(group, lanes)


def in_lanes(batches: IntArray, group: int, lanes: int) -> IntArray:
    """Return the batches of units in global order: int64[units * unit].

    Within a unit batches are numbered lane after lane, and each lane's keep the order that they are given in.

    Args:
        batches: The batches of each unit, in any order within it: int64[units * unit].
        group: The batches of a step.
        lanes: The number of lanes.

    Two ranks and four lanes: rank 0 reads lanes 0 and 1 in turn, and rank 1 lanes 2 and 3.

    >>> in_lanes(np.array([3, 2, 1, 0]), 2, 4), in_lanes(np.array([3, 2, 1, 0]), 4, 2)
    (array([0, 2, 1, 3]), array([1, 0, 3, 2]))
    """
    unit = unit_of(group, lanes)
    rows = batches.reshape(-1, unit)
    lane = rows % unit // (unit // lanes)
    by_lane = np.take_along_axis(rows, np.argsort(lane, axis=1, kind="stable"), axis=1)
    return by_lane.reshape(-1, group, unit // group).transpose(0, 2, 1).ravel()


def cut_lanes(
    widths: IntArray, edges: IntArray, unit: int, room: Callable[[int], int]
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the batches of whole units of one window, which take as many rows from each of its lanes.

    Args:
        widths: What the rows of each lane are padded to, one lane after another and each falling: int64[N].
        edges: Where each lane begins, and at the end how many rows there are: int64[lanes+1].
        unit: The batches of a unit.
        room: The function that says how many rows of a width a batch has room for.

    Returns:
        Where each batch begins and ends, int64[units * unit] each, unit after unit and lane after lane; and where
        the rows begin that are left in each lane, int64[lanes].

    >>> widths, edges = np.array([4, 2, 2, 3, 3, 1]), np.array([0, 3, 6])
    >>> cut_lanes(widths, edges, 2, lambda width: 8 // width)
    (array([0, 3]), array([2, 5]), array([2, 5]))
    """
    lanes = len(edges) - 1
    each, firsts = unit // lanes, edges[:-1]
    shortest, at, taken, rows = int(np.diff(edges).min()), 0, list[int](), list[int]()
    while at < shortest:
        count = room(int(widths[firsts + at].max()))
        if at + count * each > shortest:
            break
        taken.append(at)
        rows.append(count)
        at += count * each
    counts = np.array(rows, np.int64)[:, None, None]
    begins = np.array(taken, np.int64)[:, None, None] + np.arange(each) * counts
    starts = (firsts[None, :, None] + begins).reshape(-1)
    return starts, (firsts[None, :, None] + begins + counts).reshape(-1), firsts + at


def deal_lanes(begins: IntArray, ends: IntArray, unit: int) -> tuple[IntArray, IntArray]:
    """Return the batches of a unit that is not full, lane after lane: what is left in each, dealt evenly.

    Args:
        begins: The first row that is left in each lane, int64[lanes].
        ends: The row after the last one of each lane, int64[lanes].
        unit: The batches of a unit.

    >>> deal_lanes(np.array([7, 17]), np.array([10, 19]), 4)
    (array([ 7,  8, 17, 18]), array([ 8, 10, 18, 19]))
    """
    cuts = dealt_evenly(begins, ends - begins, unit // len(begins))
    return cuts[:, :-1].ravel(), cuts[:, 1:].ravel()


def split_lanes(lanes: Sequence[PackList], count: int) -> tuple[PackList, PackList]:
    """Return the first `count` packs of each lane, lane after lane, and the others.

    >>> pieces = Pieces(np.arange(3), np.zeros(3, int), np.array([4, 5, 6]))
    >>> first, rest = split_lanes([(pieces, np.array([0, 2, 3]))], 1)
    >>> first[0].records, rest[0].records, rest[1]
    (array([0, 1]), array([2]), array([0, 1]))
    """
    firsts = [(pieces.at(slice(int(edges[count]))), edges[: count + 1]) for pieces, edges in lanes]
    others = [(pieces.at(slice(int(edges[count]), None)), edges[count:] - edges[count]) for pieces, edges in lanes]
    return join_packs(firsts), join_packs(others)


def join_packs(parts: Sequence[PackList]) -> PackList:
    """Return the packs of several parts, one part after another."""
    pieces = Pieces(*(np.concatenate(columns) for columns in zip(*(pieces for pieces, _ in parts), strict=True)))
    return pieces, offsets_of(np.concatenate([np.diff(edges) for _, edges in parts]))
