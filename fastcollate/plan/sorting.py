"""Records by length, and records, steps and packs at random: a pure function of seed, epoch and position."""

from __future__ import annotations

import numpy as np

from fastcollate.plan.permutation import Purpose, derive_key, hash_integers, permute
from fastcollate.ragged import IntArray

__all__ = [
    "BLOCK_BYTES",
    "by_window",
    "default_block",
    "longest_between",
    "longest_first",
    "shuffle_packs",
    "shuffle_records",
    "shuffle_steps",
]

_IN_MEMORY = 8 << 30  # bytes of tokens of a corpus that any machine's memory holds
BLOCK_BYTES = 256 << 10  # of consecutive records: read nearly as fast as all in order


def shuffle_records(positions: IntArray, size: int, block: int, *, seed: int, epoch: int) -> IntArray:
    """Return the records at `positions: int64[M]` of the epoch's order of all `size` records.

    Runs of `block` consecutive records stay together, for storage that is read in blocks: they begin at multiples
    of `block`, in every epoch. The last run is shorter where `size` is no multiple of `block`; its place among the
    others changes with the epoch.

    >>> shuffle_records(np.arange(10), 10, block=4, seed=2, epoch=0)
    array([4, 5, 6, 7, 0, 1, 2, 3, 8, 9])
    """
    key = derive_key(seed, epoch, Purpose.RECORDS)
    if block == 1:
        return permute(positions, size, key)
    full, rest = divmod(size, block)
    if full == 0:
        return positions
    begin = derive_key(key, size) % (full + 1) * block  # where the short run is
    runs, inside = np.divmod(np.where(positions < begin, positions, positions - rest), block)
    found = permute(runs, full, key) * block + inside
    short = (positions >= begin) & (positions < begin + rest)
    return np.where(short, positions - begin + full * block, found)


def default_block(token_bytes: int, records: int) -> int:
    """Return how many consecutive records of a corpus stay together in the shuffle unless somebody says it.

    It is a function of the corpus alone, so that it is the same on every rank, machine and kind of storage: 1
    where its tokens take 8 GiB at most, else the power of two of records whose mean size is nearest to 256 KiB.

    Args:
        token_bytes: The bytes of all tokens.
        records: The number of records.

    >>> default_block(8 << 30, 10**7), default_block(9 << 30, 10**7), default_block(9 << 30, 1000)
    (1, 256, 1)
    """
    if token_bytes <= _IN_MEMORY or not records:
        return 1
    wanted = BLOCK_BYTES * records / token_bytes
    below = 1 << max(0, int(wanted).bit_length() - 1)
    return below if wanted - below <= 2 * below - wanted else 2 * below


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
    place = np.empty(count, np.int64)
    place[np.argsort(hash_integers(np.arange(count), key), kind="stable")] = np.arange(count)
    packs = place[packs]
    words = hash_integers(documents, key)  # of which the upper half decides
    upper, lower = ((words >> np.uint64(bits)).astype(np.uint16) for bits in (48, 32))
    narrow = np.uint16 if count <= 2**16 else np.int64  # NumPy sorts 16-bit integers by radix
    return packs, np.lexsort((lower, upper, packs.astype(narrow)))


def longest_first(lengths: IntArray, sizes: IntArray | None = None) -> IntArray:
    """Return int64[N]: the stable order of `lengths: int64[N]` from the longest on.

    Args:
        lengths: The lengths.
        sizes: How many of them each of several windows has, one after another, which are sorted each for itself:
            int64[M]; by default there is one window.

    >>> longest_first(np.array([1, 3, 2, 4, 4])), longest_first(np.array([1, 3, 2, 4, 4]), np.array([3, 2]))
    (array([3, 4, 1, 2, 0]), array([1, 2, 0, 3, 4]))
    """
    longest = int(lengths.max(initial=0))
    narrow = np.uint16 if longest < 2**16 else np.int64  # NumPy sorts 16-bit integers by radix
    order = np.argsort((longest - lengths).astype(narrow), kind="stable")
    return order if sizes is None else by_window(order, sizes)


def longest_between(lengths: IntArray, first: int, last: int) -> IntArray:
    """Return int64[last - first]: `longest_first(lengths)[first:last]`, for a few of many without sorting all.

    >>> longest_between(np.array([1, 3, 2, 4, 4]), 1, 3)
    array([4, 1])
    """
    longest = int(lengths.max())
    if longest >= 2**16:  # the lengths below it would be too many to count
        return longest_first(lengths)[first:last]
    longer = np.cumsum(np.bincount(lengths)[::-1])[::-1]  # how many have each length or more
    most, least = (longest - np.searchsorted(longer[::-1], place, side="right") for place in (first, last - 1))
    near = np.flatnonzero((lengths >= least) & (lengths <= most))
    before = int(longer[most + 1]) if most < longest else 0
    return near[longest_first(lengths[near])[first - before : last - before]]
