"""A part of a store that slow loops get through in seconds, drawn evenly from all of it."""

from __future__ import annotations

import numpy as np

from fastcollate.corpus.corpus import RaggedCorpus
from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.errors import InputError
from fastcollate.ragged import IntArray
from fastcollate.store.reader import TokenStore

_CELLS = 1_500_000  # of a sample: a loop in Python pads them in about half a second


def sample(
    store: TokenStore | MappedCorpus, records: int | None, *, batch_size: int, seed: int
) -> TokenStore | MappedCorpus | RaggedCorpus:
    """Return random records of a corpus in memory, or the corpus itself where all its records are used.

    The records drawn are in one array, in the store's order: a batch of a large store's own may span shards, which
    costs it a little more. Labels are left out: all loops learn every token.

    Args:
        store: The corpus to draw from.
        records: How many records to draw; with None, as many as a plain loop gets through in about half a second.
        batch_size: The rows of a plain loop's batch, by which that half second is reckoned.
        seed: The number that decides which records are drawn.

    Raises:
        InputError: fewer than two records, for then there is nothing to pad, or more than the store has.
    """
    have = len(store)
    if have < 2:
        only = "1 record" if have else "no records"
        raise InputError(f"{store.path} has {only}: comparing ways to pad takes at least 2")
    if records is None:
        records = min(have, sample_size(*store.length_histogram(), batch_size))
    if not 2 <= records <= have:
        raise InputError(f"--records is {records}: it must be from 2 to {have}, the records of {store.path}")
    whole = records == have and "labels" not in store.columns
    return store if whole else _drawn(store, records, seed)


def sample_size(lengths: IntArray, counts: IntArray, batch_size: int) -> int:
    """Return how many records plain batches hold in all when they have `_CELLS` cells together.

    >>> sample_size(np.array([10, 100]), np.array([9, 1]), 2)
    55350
    """
    return max(2, int(_CELLS / expected_width(lengths, counts, batch_size)))


def expected_width(lengths: IntArray, counts: IntArray, batch_size: int) -> float:
    """Return how wide a plain batch is on average: it is as wide as its longest row.

    Of lengths [10 100] and counts [9 1], both of two rows are of 10 in 81 of 100 batches: 0.81 * 10 + 0.19 * 100.

    >>> round(expected_width(np.array([10, 100]), np.array([9, 1]), 2), 6)
    27.1
    """
    none_longer = (np.cumsum(counts) / counts.sum()) ** batch_size
    return float((lengths * np.diff(none_longer, prepend=0.0)).sum())


def expected_padding(lengths: IntArray, counts: IntArray, batch_size: int) -> float:
    """Return the part of a plain loop's cells that is padding on average, from all lengths of a store.

    >>> round(expected_padding(np.array([10, 100]), np.array([9, 1]), 2), 3)
    0.299
    """
    mean = float((lengths * counts).sum() / counts.sum())
    return 1 - mean / expected_width(lengths, counts, batch_size)


def _drawn(store: TokenStore | MappedCorpus, records: int, seed: int) -> RaggedCorpus:
    chosen = np.random.default_rng(seed).choice(len(store), records, replace=False, shuffle=False)
    chosen.sort()
    return RaggedCorpus(store.take(chosen), eot_token_id=store.eot_token_id)
