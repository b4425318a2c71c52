"""Records that have the same tokens as an earlier one: found by hashes, and compared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray
from fastcollate.reports.audits.stretches import Stretch
from fastcollate.store.reader import TokenStore

__all__ = ["Repeats"]

_FACTOR = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_TOKENS = 1 << 20  # compared at a time


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
        self._powers, self._inverses = np.ones(1, np.uint64), np.ones(1, np.uint64)

    def add(self, stretch: Stretch) -> None:
        """Hash the records of a stretch."""
        count, starts = len(stretch.tokens), stretch.offsets[:-1]
        if count > len(self._powers):
            self._powers = _powers(_FACTOR, count)
            self._inverses = _powers(pow(_FACTOR, -1, 2**64), count)
        # Records at 0 and 2 of tokens (a, b, c): sums a + b F and c F**2; the latter by F**-2 is c.
        terms = np.multiply(stretch.tokens, self._powers[:count], dtype=np.uint64)
        hashes = np.add.reduceat(terms, starts) * self._inverses[starts]
        hashes ^= np.diff(stretch.offsets).astype(np.uint64) * np.uint64(_FACTOR)  # zeros of any length are 0
        self._hashes[stretch.first : stretch.first + len(starts)] = hashes

    def found(self) -> IntArray:
        """Return the records that have the same tokens as an earlier one, rising: int64[M]."""
        order = np.argsort(self._hashes, kind="stable")
        hashes = self._hashes[order]
        same = np.append(False, hashes[1:] == hashes[:-1])
        firsts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
        here = np.flatnonzero(same)
        repeated, earlier = order[here], order[firsts[here]]
        kept = self._store.lengths[repeated] == self._store.lengths[earlier]
        repeated, earlier = repeated[kept], earlier[kept]
        equal = [self._equal(repeated[part], earlier[part]) for part in self._parts(repeated)]
        return np.sort(repeated[np.concatenate(equal)]) if equal else repeated

    def _parts(self, records: IntArray) -> list[slice]:
        """Return stretches of some records, of few tokens each."""
        block = np.cumsum(self._store.lengths[records]) // _TOKENS
        edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(records)]
        return [slice(a, b) for a, b in pairwise(edges) if a < b]

    def _equal(self, some: IntArray, others: IntArray) -> NDArray[np.bool_]:
        """Return whether records have equal tokens, pair by pair; each pair has one length."""
        one, other = self._store.take(some), self._store.take(others)
        differing = np.add.reduceat(one.values != other.values, one.offsets[:-1], dtype=np.int64)
        equal: NDArray[np.bool_] = differing == 0
        return equal


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
