"""Which records each part of a split has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.plan.permutation import Purpose, derive_key, permute
from fastcollate.ragged import IntArray
from fastcollate.store.shards.shard_arrays import group_begins

__all__ = ["Part", "group_numbers", "name_of", "part_sizes", "records_of_part", "units_of"]


class Part(NamedTuple):
    """One part of a split: the sizes of all parts, which of them it is, and the seed that chooses records."""

    sizes: tuple[int, ...]
    number: int
    seed: int | None


def name_of(chosen: range | IntArray, parts: Sequence[Part]) -> str:
    """Return a text that tells these records of a store from others: where they begin, or how they were chosen.

    >>> name_of(range(3, 5), [])
    '3:2'
    """
    return f"{chosen.start}:{len(chosen)}" if isinstance(chosen, range) else str([tuple(part) for part in parts])


def part_sizes(shares: Mapping[str, float | None], records: int) -> tuple[int, ...]:
    """Return how many of the records each part has.

    Raises:
        InputError: A share is below 0 or above 1, the shares are more than the whole, or two are None.

    >>> part_sizes({"train": 0.85, "test": 0.10, "val": None}, 1100)
    (935, 110, 55)
    """
    counts = [_share_count(name, share, records) for name, share in shares.items()]
    rest = records - sum(counts)
    whole = sum(share for share in shares.values() if share is not None)
    if list(shares.values()).count(None) > 1 or rest < 0 or whole > 1 + 1e-9:
        raise InputError(f"split shares {dict(shares)!r}: together they are at most 1, and one None at most")
    pairs = zip(counts, shares.values(), strict=True)
    return tuple(rest if share is None else count for count, share in pairs)


def records_of_part(part: Part, chosen: range | IntArray, units: IntArray | None) -> range | IntArray:
    """Return the records of a part, rising.

    Args:
        part: The part.
        chosen: The records that are split, rising.
        units: The number of what each record of the whole store belongs to, int64[N]; None where each is alone.
    """
    edges = [0, *accumulate(part.sizes)]
    if units is None and part.seed is None:
        return chosen[edges[part.number] : edges[part.number + 1]]
    places = _places(part, edges, len(chosen), None if units is None else units[np.asarray(chosen)])
    if part.seed is None:  # consecutive, to where a group ends
        return chosen[places[0] : places[-1] + 1] if len(places) else chosen[:0]
    return np.asarray(chosen, np.int64)[places]


def units_of(groups: Sequence[NDArray[Any]]) -> IntArray:
    """Return the number of what each record belongs to, int64[N], rising: its group, or itself.

    Args:
        groups: The group of each record, by shard; -1 is none. A group lies in one shard.

    >>> units_of([np.array([0, 0, -1, -1]), np.array([0, 0])])
    array([0, 0, 1, 2, 3, 3])
    """
    return np.cumsum(np.concatenate([group_begins(group) for group in groups])) - 1


def group_numbers(groups: Sequence[NDArray[Any]], chosen: range | IntArray) -> IntArray:
    """Return the number of the group of each record that was `chosen`, over all shards, int64[M]; -1 is none.

    >>> group_numbers([np.array([0, 0, -1, -1]), np.array([0, 0])], range(2, 6))
    array([-1, -1,  3,  3])
    """
    found: IntArray = np.where(np.concatenate(groups) < 0, -1, units_of(groups))[np.asarray(chosen, np.int64)]
    return found


def _places(part: Part, edges: list[int], records: int, units: IntArray | None) -> IntArray:
    """Return the places among `records` of those of a part, rising."""
    if units is None:
        order = permute(np.arange(edges[part.number], edges[part.number + 1]), records, _key(part))
        return np.sort(order)
    starts = np.flatnonzero(np.diff(units, prepend=-1))
    sizes = np.diff(starts, append=records)
    order = np.arange(len(starts))
    if part.seed is not None and len(starts):
        order = permute(order, len(starts), _key(part))
    # a unit belongs to the first part that still has room for all of it when the units come in their order
    home = np.empty(len(starts), np.int64)
    home[order] = np.searchsorted(edges[1:-1], np.cumsum(sizes[order]), "left")
    return np.flatnonzero(np.repeat(home == part.number, sizes))


def _key(part: Part) -> int:
    return derive_key(part.seed or 0, 0, Purpose.PARTS)


def _share_count(name: str, share: float | None, records: int) -> int:
    if share is None:
        return 0
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InputError(
            f"split share {name!r} is {share!r}: a share is a number from 0 to 1, or None for the rest"
        )
    return int(records * share)
