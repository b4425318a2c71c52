"""Randomness as a pure function: keys, hashes and a keyed permutation, none of which has a state."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray

__all__ = ["Permutations", "Purpose", "derive_key", "hash_integers", "permute"]

Word = np.uint64
Words = NDArray[Word]

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_GOLDEN_WORD, _MIX_WORD, _29, _32 = (np.uint64(word) for word in (_GOLDEN, _MIX_1, 29, 32))
_ROUNDS = 8
_CHUNK = 16_384  # positions at a time: the working arrays stay in the cache
_MANY = 4_096  # positions of several permutations at a time, or of one that is applied for itself
_TABLE_SHARE = 0.5  # tables are made where a half has at most this many values for each position


class Purpose(IntEnum):
    """What a key is for, its third part after seed and epoch: no two purposes share their randomness."""

    RECORDS = 1  # the order of all records
    STEPS = 2  # the order of the steps of a window
    RANKS = 3  # which rank gets which batch of a step
    CHOICE = 4  # which records of a source an epoch of a mixture takes
    DOCUMENTS = 5  # the order of the documents of a pack, and of the packs of a window
    PARTS = 6  # which records each part of a split has


def derive_key(*parts: int) -> int:
    """Return one 64-bit key from integers (seed, epoch, purpose, ...); any difference in any of them changes it.

    Each part is absorbed by the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

    >>> hex(derive_key(0, 1)), hex(derive_key(1, 0))
    ('0x8b4fda8c892b50e', '0x5e41ab087439611e')
    """
    key = 0
    for part in parts:
        key = (key ^ (part & (2**64 - 1))) + _GOLDEN & (2**64 - 1)
        key = (key ^ key >> 30) * _MIX_1 & (2**64 - 1)
        key = (key ^ key >> 27) * _MIX_2 & (2**64 - 1)
        key ^= key >> 31
    return key


def hash_integers(values: IntArray, key: int | Words) -> Words:
    """Return uint64[...], a well-mixed word for each of `values: int64[...]` under `key`, one or one for each.

    >>> hash_integers(np.arange(2), 7)
    array([ 7191089600892374487, 13647215125184110592], dtype=uint64)
    """
    words = values.astype(np.uint64)
    words ^= np.asarray(key, np.uint64)
    words += np.uint64(_GOLDEN)
    words ^= words >> np.uint64(30)
    words *= np.uint64(_MIX_1)
    words ^= words >> np.uint64(27)
    words *= np.uint64(_MIX_2)
    words ^= words >> np.uint64(31)
    return words


def permute(positions: IntArray, size: int, key: int) -> IntArray:
    """Return the keyed bijection of [0, size) at `positions: int64[M]`, in O(M) time for any `size` to 2^40.

    A number x is written as (left, right) in mixed radix, left * columns + right, and eight rounds of an
    unbalanced Feistel network add a hash of one half to the other, modulo its radix (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). rows * columns exceeds `size` by less than
    sqrt(size), and the few results beyond `size` walk on along their cycle until they are inside.

    >>> np.sort(permute(np.arange(10), 10, key=1))
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    positions = np.asarray(positions, np.int64)
    network = _network(size, key, len(positions))
    out = np.empty(len(positions), np.int64)
    _apply(network, positions, out)
    outside = np.flatnonzero(out >= size)
    while len(outside):
        found = np.empty(len(outside), np.int64)
        _apply(network, out[outside], found)
        out[outside] = found
        outside = outside[found >= size]
    return out


class Permutations:
    """`Permutations` are keyed bijections of several ranges, applied to the positions of many at once.

    Args:
        sizes: The size of each range, from 1 to 2^40: int64[M].
        keys: The key of each.

    >>> two = Permutations(np.array([10, 3]), [1, 2])
    >>> two.at(np.array([0, 1, 0]), np.array([4, 2, 5])), permute(np.array([4, 5]), 10, key=1)
    (array([2, 1, 9]), array([2, 9]))
    """

    def __init__(self, sizes: IntArray, keys: Sequence[int]) -> None:
        self._sizes, self._keys = sizes, keys
        rows = np.sqrt(sizes - 1).astype(np.int64) + 1  # exact: a float64 holds more than 40 bits
        self._radices = np.stack([rows, -(-sizes // rows)]).astype(np.uint64)
        words = hash_integers(np.array(keys, np.uint64), 0)  # and then as derive_key(key, number)
        self._round_keys = hash_integers(np.arange(_ROUNDS)[:, None] + np.zeros(len(keys), np.int64), words)

    def at(self, ranges: IntArray, positions: IntArray) -> IntArray:
        """Return int64[M]: `permute` of each position in the range of that number, `int64[M]` both."""
        out = np.empty(len(positions), np.int64)
        rest = np.arange(len(positions))
        if len(positions) >= _MANY:  # a range with many positions makes tables
            counts = np.bincount(ranges)
            for number in np.flatnonzero(counts >= _MANY).tolist():
                mine = ranges == number
                out[mine] = permute(positions[mine], int(self._sizes[number]), self._keys[number])
            rest = np.flatnonzero(counts[ranges] < _MANY)
        inputs = positions
        while len(rest):
            for begin in range(0, len(rest), _MANY):
                places = rest[begin : begin + _MANY]
                out[places] = self._walk(ranges[places], inputs[places])
            rest, inputs = rest[out[rest] >= self._sizes[ranges[rest]]], out
        return out

    def _walk(self, ranges: IntArray, positions: IntArray) -> IntArray:
        """The network's value at each position, which may be outside its range still."""
        found = np.empty(len(positions), np.int64)
        rows, columns = self._radices[:, ranges]
        _apply(_Network((rows, columns), list(self._round_keys[:, ranges]), []), positions, found)
        return found


class _Network(NamedTuple):
    """The rounds of a permutation: by tables of all hashes where that is cheaper, or else by their keys.

    Where positions of several permutations are in one chunk, radices and keys are uint64[M], one for each.
    """

    radices: tuple[Word | Words, Word | Words]  # rows and columns
    keys: Sequence[Word | Words]
    tables: list[Words]  # uint64[columns] and uint64[rows] in turn, or none


def _network(size: int, key: int, count: int) -> _Network:
    """The network of [0, size) for `count` positions; a half has few values, so many positions share hashes."""
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    network = _Network(
        (np.uint64(rows), np.uint64(columns)), [np.uint64(derive_key(key, n)) for n in range(_ROUNDS)], []
    )
    if rows > count * _TABLE_SHARE:
        return network
    halves = np.arange(rows).astype(np.uint64)
    tables = [np.empty_like(halves[: rows if number % 2 else columns]) for number in range(_ROUNDS)]
    for number, table in enumerate(tables):
        _hash_half(network, number, halves[: len(table)], table, np.empty_like(table))
    return network._replace(tables=tables)


def _apply(network: _Network, positions: IntArray, out: IntArray) -> None:
    """Write the network's value at each position to `out`, in chunks that the cache holds, without new arrays."""
    rows, columns = network.radices
    scratch = np.empty((4, min(_CHUNK, len(positions))), np.uint64)
    for begin in range(0, len(positions), _CHUNK):
        chunk = positions[begin : begin + _CHUNK].view(np.uint64)
        left, right, words, spare = scratch[:, : len(chunk)]
        np.floor_divide(chunk, columns, out=left)
        np.multiply(left, columns, out=right)
        np.subtract(chunk, right, out=right)
        for number in range(0, _ROUNDS, 2):
            _hash_half(network, number, right, words, spare)
            _add_below(left, words, rows)
            _hash_half(network, number + 1, left, words, spare)
            _add_below(right, words, columns)
        left *= columns
        np.add(left, right, out=out[begin : begin + _CHUNK].view(np.uint64))


def _hash_half(network: _Network, number: int, half: Words, words: Words, spare: Words) -> None:
    """Write the hash of round `number` for each value of `half` to `words`; `spare` is overwritten.

    A hash h of 32 bits becomes h * radix >> 32, a number below the radix of the other half.
    """
    if network.tables:  # no value is outside; only this mode writes without a copy
        network.tables[number].take(half.view(np.int64), out=words, mode="clip")
        return
    np.bitwise_xor(half, network.keys[number], out=words)
    words *= _GOLDEN_WORD
    np.right_shift(words, _29, out=spare)
    words ^= spare
    words *= _MIX_WORD
    words >>= _32
    words *= network.radices[number % 2]
    words >>= _32


def _add_below(half: Words, words: Words, radix: Word | Words) -> None:
    """`half = (half + words) % radix` in place, without a division; `words` is overwritten.

    The sum s is below 2 * radix, and the smaller of s and s - radix (which wraps to a huge number when s < radix)
    is s % radix.
    """
    half += words
    np.subtract(half, radix, out=words)
    np.minimum(half, words, out=half)
