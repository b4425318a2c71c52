"""Randomness as a pure function: keys, hashes and a keyed permutation, none of which has a state."""

from __future__ import annotations

from enum import IntEnum
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray

__all__ = [
    "Purpose",
    "by_window",
    "derive_key",
    "hash_integers",
    "permute",
    "shuffle_packs",
    "shuffle_records",
    "shuffle_steps",
]

Word = np.uint64
Words = NDArray[Word]

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_GOLDEN_WORD, _MIX_WORD, _29, _32 = (np.uint64(word) for word in (_GOLDEN, _MIX_1, 29, 32))
_ROUNDS = 8
_CHUNK = 16_384  # positions at a time: the working arrays stay in the cache
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


def shuffle_records(positions: IntArray, size: int, block: int, *, seed: int, epoch: int) -> IntArray:
    """Return the records at `positions: int64[M]` of the epoch's order of all `size` records.

    Runs of `block` consecutive records stay together, for storage that reads ahead. The first run begins at a
    place that changes with the epoch, and the last wraps around at `size`. What is left when `size` is no multiple
    of `block` comes last, which is another part in every epoch.

    >>> shuffle_records(np.arange(8), 8, block=4, seed=0, epoch=0)
    array([2, 3, 4, 5, 6, 7, 0, 1])
    """
    key = derive_key(seed, epoch, Purpose.RECORDS)
    if block == 1:
        return permute(positions, size, key)
    full = size // block
    runs, inside = np.divmod(positions, block)
    if full > 1:
        runs = np.where(runs < full, permute(np.minimum(runs, full - 1), full, key), runs)
    return (runs * block + inside + derive_key(key, size) % size) % size


def shuffle_steps(steps: IntArray, group: int, *, seed: int, epoch: int, window: int) -> IntArray:
    """Return int64[steps * group]: the batches of all steps, steps in random order and each step's batches too.

    Args:
        steps: How many steps each of some windows has, which are shuffled each for itself: int64[M].
        group: The batches of a step.
        seed: The plan's seed.
        epoch: The plan's epoch.
        window: The number of the first of the windows.

    >>> shuffle_steps(np.array([3]), 2, seed=0, epoch=0, window=0)
    array([2, 3, 4, 5, 1, 0])
    """
    numbers = window + np.arange(len(steps))
    step_keys, rank_keys = (
        hash_integers(numbers, derive_key(seed, epoch, use)) for use in (Purpose.STEPS, Purpose.RANKS)
    )  # as derive_key(seed, epoch, use, window) gives them
    home = np.repeat(np.arange(len(steps)), steps)
    within = np.arange(len(home)) - np.repeat(np.cumsum(steps) - steps, steps)
    by_hash = by_window(np.argsort(hash_integers(within, step_keys[home]), kind="stable"), steps)
    batches = within[:, None] * group + np.arange(group)
    words = hash_integers(batches, rank_keys[home][:, None])
    inside = np.argsort(words, axis=1, kind="stable") + np.arange(len(home))[:, None] * group
    return inside[by_hash].ravel()


def by_window(order: IntArray, sizes: IntArray) -> IntArray:
    """Return int64[N]: an order over several windows as the same order within each, window after window.

    Args:
        order: The order of the members of all windows, which are numbered through: int64[N].
        sizes: How many members each window has: int64[M].

    >>> by_window(np.array([3, 0, 4, 2, 1]), np.array([3, 2]))
    array([0, 2, 1, 3, 4])
    """
    if len(sizes) == 1:
        return order
    narrow = np.uint16 if len(sizes) <= 2**16 else np.int64  # NumPy sorts 16-bit integers by radix
    home = np.repeat(np.arange(len(sizes), dtype=narrow), sizes)
    return order[np.argsort(home[order], kind="stable")]


def shuffle_packs(
    packs: IntArray, count: int, documents: IntArray, *, seed: int, epoch: int, window: int
) -> tuple[IntArray, IntArray]:
    """Return `count` packs in random order and each pack's documents too: int64[D] both.

    The first result is the new pack of each document, the second the documents' order by pack.

    Args:
        packs: The pack of each document, from 0: int64[D].
        count: How many packs there are.
        documents: A number for each document that no other has: int64[D].
        seed: The plan's seed.
        epoch: The plan's epoch.
        window: The window of the plan.

    >>> shuffle_packs(np.array([0, 1, 1]), 2, np.array([7, 8, 9]), seed=0, epoch=0, window=0)
    (array([1, 0, 0]), array([2, 1, 0]))
    """
    key = derive_key(seed, epoch, Purpose.DOCUMENTS, window)
    packs = np.argsort(np.argsort(hash_integers(np.arange(count), key), kind="stable"))[packs]
    words = hash_integers(documents, key) >> np.uint64(32)
    return packs, np.argsort(packs.astype(np.uint64) << np.uint64(32) | words, kind="stable")


class _Network(NamedTuple):
    """The rounds of one permutation: by tables of all hashes where that is cheaper, or else by their keys."""

    radices: tuple[Word, Word]  # rows and columns
    keys: list[Word]
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


def _add_below(half: Words, words: Words, radix: Word) -> None:
    """`half = (half + words) % radix` in place, without a division; `words` is overwritten.

    The sum s is below 2 * radix, and the smaller of s and s - radix (which wraps to a huge number when s < radix)
    is s % radix.
    """
    half += words
    np.subtract(half, radix, out=words)
    np.minimum(half, words, out=half)
