"""Records that have the same tokens as an earlier one: found by hashes, and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray, offsets_of
from fastcollate.reports.audits.stretches import TOKENS, Stretch, flat_values
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.sharded import ShardedRecords

__all__ = ["Repeats"]

_FACTOR = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_COMPARED = 1 << 17  # tokens at a time


class Repeats:
    """`Repeats` hashes the records of a store, stretch by stretch, and then tells which of them are repeated.

    The hash of a record is a polynomial of its tokens, modulo 2**64, and its length: tokens (a, b, c) give
    a + b F + c F**2.

    Args:
        store: The store.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._hashes = np.zeros(len(store), np.uint64)
        most = min(TOKENS, store.num_tokens)
        self._powers, self._inverses = _powers(_FACTOR, most), _powers(pow(_FACTOR, -1, 2**64), most)

    def add(self, stretch: Stretch) -> None:
        """Hash the records of a stretch."""
        starts = stretch.offsets[:-1]
        if len(starts) == 1:
            hashes = np.array([self._hash(stretch.tokens)], np.uint64)
        else:
            # Records at 0 and 2 of tokens (a, b, c): sums a + b F and c F**2; the latter by F**-2 is c.
            terms = np.multiply(stretch.tokens, self._powers[: len(stretch.tokens)], dtype=np.uint64)
            hashes = np.add.reduceat(terms, starts) * self._inverses[starts]
        hashes ^= np.diff(stretch.offsets).astype(np.uint64) * np.uint64(_FACTOR)  # zeros of any length are 0
        self._hashes[stretch.first : stretch.first + len(starts)] = hashes

    def _hash(self, tokens: NDArray[Any]) -> int:
        """Return the hash of one record, however long: (a, b) and (c, d) have a + b F + (c + d F) F**2."""
        total = 0
        for at in range(0, len(tokens), TOKENS):
            part = tokens[at : at + TOKENS]
            terms = np.multiply(part, self._powers[: len(part)], dtype=np.uint64)
            total += int(terms.sum()) * pow(_FACTOR, at, 2**64)
        return total % 2**64

    def found(self) -> IntArray:
        """Return the records that have the same tokens as an earlier one, rising: int64[M]."""
        found, left = [np.zeros(0, np.int64)], np.arange(len(self._hashes))
        while len(twins := np.sort(self._twins(left))):
            order = twins[np.argsort(self._hashes[twins], kind="stable")]
            hashes = self._hashes[order]
            same = np.append(False, hashes[1:] == hashes[:-1])
            firsts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
            repeated, earlier = order[same], order[firsts[same]]
            equal = self._equal(repeated, earlier)
            found.append(repeated[equal])
            left = repeated[~equal]  # of one hash and yet others: seldom are there any
        return np.sort(np.concatenate(found))

    def _twins(self, records: IntArray) -> IntArray:
        """Return those of some records whose hash another one has, too: a sort that is not stable is faster."""
        order = records[np.argsort(self._hashes[records])]
        hashes = self._hashes[order]
        same = hashes[1:] == hashes[:-1]
        twin = np.zeros(len(order), bool)
        twin[1:] |= same
        twin[:-1] |= same
        return order[twin]

    def _equal(self, some: IntArray, others: IntArray) -> NDArray[np.bool_]:
        """Return whether records have equal tokens, pair by pair: bool[M]."""
        read, lengths = self._store.at_epoch(0, 0), self._store.lengths
        equal: NDArray[np.bool_] = lengths[some] == lengths[others]
        one, other = (np.searchsorted(read.starts, _numbers(read, side), "right") for side in (some, others))
        homes = one * (len(read.starts) + 1) + other
        order = np.argsort(homes, kind="stable")
        order = order[equal[order]]
        block = np.cumsum(lengths[some[order]]) // _COMPARED
        edges = np.flatnonzero((np.diff(block) != 0) | (np.diff(homes[order]) != 0)) + 1
        for part in np.split(order, edges):  # each side lies in one shard
            if len(part):
                left, right = (flat_values(read.gather(side[part]).tokens) for side in (some, others))
                differing = left != right
                equal[part] = ~np.logical_or.reduceat(differing, offsets_of(lengths[some[part]])[:-1])
        return equal


def _numbers(read: ShardedRecords, records: IntArray) -> IntArray:
    """Return the numbers in the whole store of some records of a view."""
    return records + read.chosen.start if isinstance(read.chosen, range) else read.chosen[records]


def _powers(factor: int, count: int) -> NDArray[np.uint64]:
    """Return the first powers of a factor, modulo 2**64."""
    powers = np.ones(count, np.uint64)
    done = 1
    while done < count:
        step = np.uint64(pow(factor, done, 2**64))
        more = min(done, count - done)
        powers[done : done + more] = powers[:more] * step
        done += more
    return powers
