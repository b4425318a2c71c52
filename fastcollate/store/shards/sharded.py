"""Records numbered from 0 over several shards: what reads a store during an epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import (
    Bound,
    Found,
    IntArray,
    Ragged,
    RaggedBatch,
    Rows,
    Scattered,
    bounds_at,
    offsets_of,
    places_by_home,
)
from fastcollate.storage.local import MappedFile
from fastcollate.storage.read_counts import ReadCounts
from fastcollate.store.shards.background import UnverifiedShard
from fastcollate.store.shards.shard import Beside, Shard

__all__ = ["FarTokens", "ShardedRecords"]


class _Share(NamedTuple):
    """The records of a selection that lie in one shard: their places in the selection, and in the shard."""

    shard: Shard
    positions: slice | IntArray
    places: IntArray


class FarTokens(Protocol):
    """The token ids of shards that lie elsewhere."""

    def rows(self, homes: IntArray, starts: IntArray, lengths: IntArray, counts: ReadCounts) -> Scattered:
        """Return `lengths[i]` ids of shard `homes[i]` from its id `starts[i]` on, checked: all are int64[R]."""
        ...


class ShardedRecords(NamedTuple):
    """Records numbered from 0 over shards of any sizes.

    Attributes:
        shards: The shards.
        starts: The number of the first record of each shard in the whole, int64[S].
        chosen: The numbers in the whole of the records of a view, rising: a range, or int64[N].
        far: What reads the token ids, where they are not on this machine; None where they are.
        bound: What all token ids are below; None where it is not checked.
    """

    shards: list[Shard]
    starts: IntArray
    chosen: range | IntArray
    far: FarTokens | None = None
    bound: Bound | None = None

    @classmethod
    def of(
        cls,
        shards: list[Shard],
        chosen: range | IntArray,
        far: FarTokens | None = None,
        bound: Bound | None = None,
    ) -> ShardedRecords:
        """Return the `chosen` records of some shards."""
        return cls(shards, offsets_of([shard.records for shard in shards])[:-1], chosen, far, bound)

    def locate(self, index: int) -> tuple[Shard, int]:
        """Return the shard of one record, and the record's place there."""
        number = int(self.chosen[index])
        home = bisect_right(self.starts, number) - 1
        return self.shards[home], number - int(self.starts[home])

    def row(self, index: int) -> NDArray[Any]:
        """Return the tokens of one record: a view of the file, if that is on this machine."""
        if self.far is not None:
            return self.find(np.array([index])).tokens.rows()[0]
        shard, place = self.locate(index)
        return shard.tokens[place]

    def lengths(self) -> IntArray:
        """Return the tokens of each record, int64[N]."""
        return self.whole([np.diff(shard.offsets) for shard in self.shards])

    def whole(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return what each shard has one of for every record, for the records that are chosen."""
        joined = np.concatenate(parts)
        if isinstance(self.chosen, range):
            return joined[self.chosen.start : self.chosen.stop]
        return joined[self.chosen]

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M], read from the mapped index."""
        out = np.empty(len(indices), np.int64)
        for shard, positions, places in self._shares(self._numbers(indices)):
            out[positions] = bounds_at(shard.offsets, places)[1]
        return out

    def supervised_at(self, indices: IntArray) -> IntArray:
        """Return the targets of the records `indices: int64[M]`, int64[M], read from the mapped index."""
        out = np.empty(len(indices), np.int64)
        for shard, positions, places in self._shares(self._numbers(indices)):
            out[positions] = shard.arrays["supervised"][places]
        return out

    def is_slow(self) -> bool:
        """Return whether the tokens are not on this machine."""
        return self.far is not None

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records `indices: int64[R]` lie, with the `columns` asked for."""
        return self.read(indices, columns, ReadCounts())

    def read(self, indices: IntArray, columns: Collection[str], counts: ReadCounts) -> Found:
        """Return what `find` does; tokens that are not on this machine come into memory of their own.

        Args:
            indices: The records, int64[R], in any order and as often as wanted.
            columns: What is wanted beside the tokens.
            counts: What is added to: the bytes that were fetched, used, and found in a cache.

        Raises:
            StorageError: The network or the server failed; the object and the range are named.
            StoreCorruptError: What came is not what was written.
        """
        names = columns if self.far is not None else ("input_ids", *columns)
        parts = {name: list[tuple[slice | IntArray, Rows]]() for name in names}
        for shard, positions, places in self._shares(self._numbers(indices)):
            for name in names:
                parts[name].append((positions, _rows_at(_column(shard, name), places)))
        if not len(indices):
            parts = {name: [(slice(None), _rows_at(_column(self.shards[0], name), indices))] for name in names}
        found = {name: Scattered.merged(len(indices), parts[name]) for name in names}
        tokens = found.pop("input_ids") if self.far is None else self.far.rows(*self.extents(indices), counts)
        return Found(indices, tokens._replace(bound=self.bound), found)

    def extents(self, indices: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Return where records `indices: int64[R]` lie: shard, first token and tokens of each, all int64[R]."""
        numbers = self._numbers(indices)
        homes = np.searchsorted(self.starts, numbers, "right") - 1
        begins, lengths = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        for home, positions in places_by_home(homes):
            places = numbers[positions] - self.starts[home]
            begins[positions], lengths[positions] = bounds_at(self.shards[home].offsets, places)
        return homes, begins, lengths

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records `indices: int64[B]` as a batch, with the `columns` asked for.

        They stay where they lie if that is one shard, else they are copied side by side.
        """
        return self.find(indices, columns).batch()

    def unverified(self) -> list[UnverifiedShard]:
        """Return the shards with any of the records whose files were not hashed yet."""
        return [
            UnverifiedShard(self.shards[number].arrays, int(self.starts[number]))
            for number in self._shards_used()
            if not self.shards[number].arrays.is_whole
        ]

    def mapped(self) -> Iterator[MappedFile]:
        """Return the files that the records were read from so far, unless they are trusted."""
        for shard in self.shards:
            yield from shard.arrays.mapped()

    def _shards_used(self) -> Sequence[int]:
        if not len(self.chosen):
            return []
        if isinstance(self.chosen, range):
            first, last = (bisect_right(self.starts, self.chosen[end]) - 1 for end in (0, -1))
            return range(first, last + 1)
        before = np.searchsorted(self.chosen, self.starts)
        used: list[int] = np.flatnonzero(np.diff(before, append=len(self.chosen))).tolist()
        return used

    def _numbers(self, indices: IntArray) -> IntArray:
        """Return the numbers in the whole of the records `indices`."""
        if not isinstance(self.chosen, range):
            return self.chosen[indices]
        return indices + self.chosen.start if self.chosen.start else indices

    def _shares(self, numbers: IntArray) -> Iterator[_Share]:
        """Group records by shard; with one shard there is nothing to group."""
        if len(self.shards) == 1:
            yield _Share(self.shards[0], slice(None), numbers)
        else:
            homes = np.searchsorted(self.starts, numbers, "right") - 1
            places = numbers - self.starts[homes]
            for home, positions in places_by_home(homes):
                yield _Share(self.shards[home], positions, places[positions])


def _column(shard: Shard, name: str) -> Ragged | Beside:
    if name == "input_ids":
        return shard.tokens
    return shard.spans if name == "spans" else shard.beside(name)


def _rows_at(ragged: Ragged | Beside, places: IntArray) -> Rows:
    return Rows(ragged.values, *bounds_at(ragged.offsets, places))
