"""A store in stretches of consecutive records that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray, RaggedBatch, Rows, offsets_of, rows_between
from fastcollate.store.reader import TokenStore

__all__ = ["TOKENS", "Stretch", "batches", "flat_values", "stretches"]

TOKENS = 1 << 19
"""The most tokens of a stretch; a longer record is one of its own."""


class Stretch(NamedTuple):
    """Consecutive records, their tokens side by side.

    Attributes:
        first: The number of the first record.
        tokens: The tokens, uint16|uint32[V].
        offsets: Where each record begins, and the last one ends: int64[N+1].
        starts: The first token of each run of targets, int64[S]; runs of one record do not touch.
        stops: The token after each run, int64[S].
        firsts: The first run of each record, int64[N+1].
        before: How many targets come before each run, and in all: int64[S+1].
    """

    first: int
    tokens: NDArray[Any]
    offsets: IntArray
    starts: IntArray
    stops: IntArray
    firsts: IntArray
    before: IntArray

    @property
    def targets(self) -> IntArray:
        """The targets of each record, int64[N]."""
        return np.diff(self.before[self.firsts])

    def targets_before(self, places: IntArray) -> IntArray:
        """Return how many targets come before each of some rising places, int64[M].

        Runs (2, 4) and (6, 9) have 0, 1, 2 and 3 targets before the places 2, 3, 5 and 7.
        """
        run = _begun(self.starts, places, "right")
        inside = np.where(run > 0, np.append(self.stops, 0).take(run - 1) - places, 0)
        return self.before.take(run) - np.maximum(inside, 0)

    def last_target(self, begins: IntArray, stops: IntArray) -> IntArray:
        """Return the place after the last target of each stretch of tokens, int64[M]; -1 where there is none.

        The stops rise.
        """
        run = _begun(self.starts, stops, "left")
        last = np.where(run > 0, np.minimum(np.append(self.stops, 0).take(run - 1), stops), -1)
        return np.where(last > begins, last, -1)


def _begun(starts: IntArray, places: IntArray, side: Literal["left", "right"]) -> IntArray:
    """Return how many of some rising starts are before each rising place, or at it (right): int64[M].

    The fewer are looked for among the more: starts 2, 6 before 2, 3, 7 (right) have the places from 0 and 2 on,
    which gives 1, 1, 2.
    """
    if len(starts) > len(places):
        return np.searchsorted(starts, places, side)
    froms = np.searchsorted(places, starts, "left" if side == "right" else "right")
    edges = np.concatenate([[0], froms, [len(places)]])
    return np.repeat(np.arange(len(starts) + 1), edges[1:] - edges[:-1])


def batches(store: TokenStore, columns: tuple[str, ...], *, records: int) -> Iterator[RaggedBatch]:
    """Yield all records of a store in order, `records` at a time; no batch has records of two shards."""
    read = store.at_epoch(0, 0)
    if isinstance(read.chosen, range):
        edges = np.clip(read.starts - read.chosen.start, 0, len(store))
    else:
        edges = np.searchsorted(read.chosen, read.starts)
    for begin, end in pairwise([*edges.tolist(), len(store)]):
        for at in range(begin, end, records):
            yield read.gather(np.arange(at, min(at + records, end)), columns)


def stretches(store: TokenStore) -> Iterator[Stretch]:
    """Yield all records of a store in order."""
    columns = ("spans",) if store.has_spans else ()
    for batch in batches(store, columns, records=1 << 20):
        offsets = offsets_of(batch.lengths)
        at = 0
        while at < len(batch):
            end = max(at + 1, int(np.searchsorted(offsets, offsets[at] + TOKENS, "right")) - 1)
            yield _stretch(batch, at, end)
            at = end


def _stretch(batch: RaggedBatch, at: int, end: int) -> Stretch:
    lengths = batch.lengths[at:end]
    offsets = offsets_of(lengths)
    tokens = _side_by_side(batch.tokens, at, end)
    if batch.spans is None:
        starts, stops, counts = offsets[:-1], offsets[1:], np.ones(end - at, np.int64)
    else:
        counts = batch.spans.lengths[at:end] // 2
        pairs = _side_by_side(batch.spans, at, end).reshape(-1, 2).astype(np.int64)
        owners = np.repeat(np.arange(end - at), counts)
        some = pairs[:, 1] > pairs[:, 0]  # spans may be empty
        if not some.all():
            pairs, owners = pairs[some], owners[some]
        starts, stops = (pairs + offsets[owners, None]).T
        parted = np.ones(len(starts), bool)  # spans of two weights may touch
        parted[1:] = (starts[1:] > stops[:-1]) | (owners[1:] > owners[:-1])
        starts, stops = starts[parted], stops[np.append(parted[1:], True)[: len(parted)]]
        counts = np.bincount(owners[parted], minlength=end - at)
    before = offsets_of(stops - starts)
    return Stretch(int(batch.record_ids[at]), tokens, offsets, starts, stops, offsets_of(counts), before)


def _side_by_side(rows: Rows, at: int, end: int) -> NDArray[Any]:
    """Return the values of some rows; a view where they lie so already."""
    starts, lengths = rows.starts[at:end], rows.lengths[at:end]
    if bool((starts[1:] == starts[:-1] + lengths[:-1]).all()):
        return rows.values[starts[0] : starts[-1] + lengths[-1]]
    return Rows(rows.values, starts, lengths).joined()


def flat_values(rows: Rows) -> NDArray[Any]:
    """Return the values of rows side by side; many short ones are faster so than by a copy of each."""
    if len(rows.starts) == 1:
        return rows.values[rows.starts[0] : rows.starts[0] + rows.lengths[0]]
    return rows.values[rows_between(rows.starts, rows.lengths)]
