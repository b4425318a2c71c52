from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, Ragged, Rows
from fastcollate.store.shard_files import Shard

__all__ = ["ShardedRecords"]

Column = Literal["tokens", "spans"]


class _Part(NamedTuple):
    """The records of a selection that lie in one shard: their places in the selection, and in the shard."""

    shard: Shard
    positions: slice | IntArray
    rows: IntArray


class ShardedRecords(NamedTuple):
    """Records numbered from 0 over mapped shards, of which all but the last have `per_shard` records.

    `first` is the number of record 0 in the whole: a view of a store begins there.
    """

    shards: list[Shard]
    per_shard: int
    first: int

    def locate(self, index: int) -> tuple[Shard, int]:
        """The shard of one record, and its row there."""
        number, row = divmod(self.first + index, self.per_shard)
        return self.shards[number], row

    def lengths(self, count: int) -> IntArray:
        """int64[count], the tokens of each of the first `count` records."""
        whole = np.concatenate([shard.tokens.lengths for shard in self.shards])
        return whole[self.first : self.first + count]

    def lengths_at(self, indices: IntArray) -> IntArray:
        """int64[M], the tokens of the records `indices: int64[M]`."""
        out = np.empty(len(indices), np.int64)
        for shard, positions, rows in self._parts(indices):
            offsets = shard.tokens.offsets
            out[positions] = offsets[1:][rows] - offsets[rows]
        return out

    def rows(self, column: Column, indices: IntArray) -> Rows:
        """Tokens or spans of the records `indices: int64[M]`: where they lie if that is one shard, else copied.

        Copying record after record is several times as fast as grouping a batch by shard.
        """
        if len(self.shards) == 1:
            numbers = indices + self.first if self.first else indices
            return _rows_of(self.shards[0], column, numbers)
        numbers, rows = np.divmod(indices + self.first, self.per_shard)
        homes = numbers.tolist()
        occurring = set(homes)
        if len(occurring) == 1:
            return _rows_of(self.shards[homes[0]], column, rows)
        flat = {}  # as memoryviews, which give single numbers and slices several times as fast
        for home in occurring:
            ragged = _ragged(self.shards[home], column)
            flat[home] = ragged.values.data, ragged.offsets.data
        slices = []
        for home, row in zip(homes, rows.tolist(), strict=True):
            values, offsets = flat[home]
            slices.append(values[offsets[row] : offsets[row + 1]])
        lengths = np.array([len(part) for part in slices], np.int64)
        joined = np.frombuffer(b"".join(slices), _ragged(self.shards[0], column).values.dtype)
        return Rows(joined, np.cumsum(lengths) - lengths, lengths)

    def _parts(self, indices: IntArray) -> Iterator[_Part]:
        """Group records by shard; with one shard there is nothing to group."""
        numbers = indices + self.first if self.first else indices
        if len(self.shards) == 1:
            yield _Part(self.shards[0], slice(None), numbers)
        elif len(indices):
            homes, rows = np.divmod(numbers, self.per_shard)
            narrow = homes.astype(np.uint16) if len(self.shards) <= 2**16 else homes  # sorted by radix
            order = np.argsort(narrow, kind="stable")
            for positions in np.split(order, np.flatnonzero(np.diff(homes[order])) + 1):
                yield _Part(self.shards[int(homes[positions[0]])], positions, rows[positions])


def _ragged(shard: Shard, column: Column) -> Ragged:
    return shard.tokens if column == "tokens" else shard.spans


def _rows_of(shard: Shard, column: Column, rows: IntArray) -> Rows:
    ragged = _ragged(shard, column)
    starts = ragged.offsets[rows]
    return Rows(ragged.values, starts, ragged.offsets[1:][rows] - starts)
