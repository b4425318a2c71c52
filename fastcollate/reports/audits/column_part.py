"""What columns tell of a store, without a token read: lengths, shares of targets, the heaviest, what is cut."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray, Rows
from fastcollate.reports.audits.stretches import batches, flat_values
from fastcollate.reports.lengths import histogram
from fastcollate.store.reader import TokenStore

__all__ = [
    "Cut",
    "Heavy",
    "LengthShare",
    "bad_weights",
    "heaviest",
    "last_targets",
    "loss_weights",
    "shares_by_length",
    "top",
    "without_targets",
]

_RECORDS = 1 << 18  # looked at together
_MOST = 20  # records that are listed


class LengthShare(NamedTuple):
    """The records of `first` to `last` tokens: how many, and their tokens and targets."""

    first: int
    last: int
    records: int
    tokens: int
    targets: int


class Heavy(NamedTuple):
    """A record that weighs much in the loss: its number, tokens and targets, its weight, and its share of all."""

    record: int
    tokens: int
    targets: int
    weight: float
    share: float


class Cut(NamedTuple):
    """The records that a length cuts targets of: those that lose all, and those that lose some."""

    wholly: IntArray
    partly: IntArray


def shares_by_length(store: TokenStore) -> list[LengthShare]:
    """Return the records, tokens and targets of each bin of lengths."""
    lengths = store.lengths
    bins = histogram(*store.length_histogram())
    stops = np.array([last for _, last, _ in bins])
    longest = int(lengths.max())
    if longest > len(lengths):  # one long record must not make a long table
        place = np.searchsorted(stops, lengths).astype(np.uint8)
    else:
        place = np.searchsorted(stops, np.arange(longest + 1)).astype(np.uint8)[lengths]
    sums = [np.bincount(place, values, minlength=len(bins)) for values in (lengths, store.supervised)]
    return [
        LengthShare(first, last, records, int(tokens), int(targets))
        for (first, last, records), tokens, targets in zip(bins, *sums, strict=True)
    ]


def top(values: NDArray[Any]) -> IntArray:
    """Return the places of the largest values, at most twenty, the largest first; of equals the first."""
    if len(values) > _MOST:
        least = np.partition(values, len(values) - _MOST)[len(values) - _MOST]
        above, level = np.flatnonzero(values > least), np.flatnonzero(values == least)
        places = np.concatenate([above, level[: _MOST - len(above)]])
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places].astype(np.float64), kind="stable")]


def heaviest(store: TokenStore, weights: NDArray[Any]) -> list[Heavy]:
    """Return the twenty records that weigh most in the loss: `weights` are those of `loss_weights`."""
    if weights.dtype.kind == "f":  # what is not finite, or below 0, is a finding of its own
        weights = np.where(np.isfinite(weights), np.maximum(weights, 0), 0)
    total = float(weights.sum(dtype=np.float64))
    return [
        Heavy(i, int(store.lengths[i]), int(store.supervised[i]), float(weights[i]), float(weights[i]) / total)
        for i in top(weights).tolist()
        if weights[i] > 0
    ]


def loss_weights(store: TokenStore) -> NDArray[Any]:
    """Return the weight of each record in the loss, a sum over targets: their number where none has its own."""
    if "weights" not in store.columns or not store.has_spans:
        return store.supervised
    parts: list[NDArray[Any]] = []
    for batch in batches(store, ("spans", "weights"), records=_RECORDS):
        spans = flat_values(batch.columns["spans"]).reshape(-1, 2).astype(np.int64)
        values = flat_values(batch.columns["weights"]) * (spans[:, 1] - spans[:, 0])
        owners = np.repeat(np.arange(len(batch)), batch.columns["spans"].lengths // 2)
        parts.append(np.bincount(owners, values, minlength=len(batch)))
    return np.concatenate(parts)


def bad_weights(store: TokenStore) -> IntArray:
    """Return the records with a weight that is below 0 or not finite."""
    if "weights" not in store.columns:
        return np.zeros(0, np.int64)
    found = []
    for batch in batches(store, ("weights",), records=_RECORDS):
        rows = batch.columns["weights"]
        values = flat_values(rows)
        bad = np.repeat(batch.record_ids, rows.lengths)[~(np.isfinite(values) & (values >= 0))]
        found.append(np.unique(bad))
    return np.concatenate(found)


def without_targets(store: TokenStore, weights: NDArray[Any]) -> IntArray:
    """Return the records that teach nothing: without a target, or with `loss_weights` of 0.

    A target that is the first token is none by itself: nothing is before it that it is predicted from.
    """
    bare: NDArray[np.bool_] = (store.supervised == 0) | (weights == 0)
    single = store.supervised == 1
    if not store.has_spans:
        bare |= single
    elif single.any():
        for batch in batches(store, ("spans",), records=_RECORDS):
            rows, first, _ = _edges(batch.columns["spans"], np.flatnonzero(single[batch.record_ids]))
            bare[batch.record_ids[rows[first == 0]]] = True
    return np.flatnonzero(bare)


def last_targets(store: TokenStore, length: int) -> Cut:
    """Return the records with a target past token `length`."""
    if not store.has_spans:
        return Cut(np.zeros(0, np.int64), np.flatnonzero(store.lengths > length))
    wholly, partly = [], []
    for batch in batches(store, ("spans",), records=_RECORDS):
        long = np.flatnonzero(batch.lengths > length)
        rows, first, last = _edges(batch.columns["spans"], long)
        ids = batch.record_ids[rows]
        wholly.append(ids[first >= length])
        partly.append(ids[(first < length) & (last > length)])
    return Cut(np.concatenate(wholly), np.concatenate(partly))


def _edges(spans: Rows, rows: IntArray) -> tuple[IntArray, NDArray[Any], NDArray[Any]]:
    """Return which of some rows have targets, where the first of these is, and where the last one ends."""
    owners = np.repeat(rows, spans.lengths[rows] // 2)
    pairs = flat_values(Rows(spans.values, spans.starts[rows], spans.lengths[rows])).reshape(-1, 2)
    some = pairs[:, 1] > pairs[:, 0]  # spans may be empty
    owners, pairs = owners[some], pairs[some]
    first = np.append(True, owners[1:] > owners[:-1])[: len(owners)]
    last = np.append(first[1:], True)[: len(owners)]
    return owners[first], pairs[first, 0], pairs[last, 1]
