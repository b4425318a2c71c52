"""Records numbered from 0 over several mapped shards: what reads a store during an epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, Ragged, RaggedBatch, Rows
from fastcollate.store.shard_files import Shard

__all__ = ["ShardedRecords"]


class _Share(NamedTuple):
    """The records of a selection that lie in one shard: their places in the selection, and in the shard."""

    shard: Shard
    positions: slice | IntArray
    places: IntArray


class ShardedRecords(NamedTuple):
    """Records numbered from 0 over mapped shards, of which all but the last have `per_shard` records.

    `first` is the number of record 0 in the whole: a view of a store begins there.
    """

    shards: list[Shard]
    per_shard: int
    first: int

    def locate(self, index: int) -> tuple[Shard, int]:
        """Return the shard of one record, and the record's place there."""
        number, place = divmod(self.first + index, self.per_shard)
        return self.shards[number], place

    def lengths(self, count: int) -> IntArray:
        """Return the tokens of each of the first `count` records, int64[count]."""
        whole = np.concatenate([shard.tokens.lengths for shard in self.shards])
        return whole[self.first : self.first + count]

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M], read from the mapped index."""
        out = np.empty(len(indices), np.int64)
        for shard, positions, places in self._shares(indices):
            offsets = shard.tokens.offsets
            out[positions] = offsets[1:][places] - offsets[places]
        return out

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records `indices: int64[B]` as a batch, with the `columns` asked for.

        They stay where they lie if that is one shard, else they are copied side by side: copying record after
        record is several times as fast as grouping a batch by shard.
        """
        numbers = indices + self.first if self.first else indices
        if len(self.shards) == 1:
            return _gather_here(self.shards[0], numbers, indices, columns)
        numbers, places = np.divmod(numbers, self.per_shard)
        homes = numbers.tolist()
        occurring = set(homes)
        if len(occurring) <= 1:
            return _gather_here(self.shards[homes[0] if homes else 0], places, indices, columns)
        tokens, *beside = (
            _joined({home: _column(self.shards[home], name) for home in occurring}, homes, places)
            for name in ("input_ids", *columns)
        )
        return RaggedBatch(tokens, indices, dict(zip(columns, beside, strict=True)))

    def _shares(self, indices: IntArray) -> Iterator[_Share]:
        """Group records by shard; with one shard there is nothing to group."""
        numbers = indices + self.first if self.first else indices
        if len(self.shards) == 1:
            yield _Share(self.shards[0], slice(None), numbers)
        elif len(indices):
            homes, places = np.divmod(numbers, self.per_shard)
            narrow = homes.astype(np.uint16) if len(self.shards) <= 2**16 else homes  # sorted by radix
            order = np.argsort(narrow, kind="stable")
            for positions in np.split(order, np.flatnonzero(np.diff(homes[order])) + 1):
                yield _Share(self.shards[int(homes[positions[0]])], positions, places[positions])


def _column(shard: Shard, name: str) -> Ragged:
    return shard.tokens if name == "input_ids" else shard.spans


def _gather_here(shard: Shard, places: IntArray, ids: IntArray, columns: Collection[str]) -> RaggedBatch:
    beside = {name: _rows_at(_column(shard, name), places) for name in columns}
    return RaggedBatch(_rows_at(shard.tokens, places), ids, beside)


def _rows_at(ragged: Ragged, places: IntArray) -> Rows:
    starts = ragged.offsets[places]
    return Rows(ragged.values, starts, ragged.offsets[1:][places] - starts)


def _joined(shards: dict[int, Ragged], homes: list[int], places: IntArray) -> Rows:
    """The rows of several shards side by side, row `i` being `places[i]` of shard `homes[i]`."""
    # as memoryviews, which give single numbers and slices several times as fast as arrays
    flat = {home: (ragged.values.data, ragged.offsets.data) for home, ragged in shards.items()}
    slices = []
    for home, place in zip(homes, places.tolist(), strict=True):
        values, offsets = flat[home]
        slices.append(values[offsets[place] : offsets[place + 1]])
    lengths = np.array([len(part) for part in slices], np.int64)
    joined = np.frombuffer(b"".join(slices), shards[homes[0]].values.dtype)
    return Rows(joined, np.cumsum(lengths) - lengths, lengths)
