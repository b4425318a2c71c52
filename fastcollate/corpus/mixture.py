from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.plan.permutation import derive_key, permute
from fastcollate.ragged import IntArray, RaggedBatch, Rows, rows_side_by_side
from fastcollate.store.reader import TokenStore

__all__ = ["Mixture", "mix"]

_CHOICE = 4  # what the key is for: which records of a source an epoch takes


def mix(sources: Sequence[tuple[TokenStore, float]]) -> Mixture:
    """Several stores as one, without a copy; a weight is how many epochs of its store an epoch of the mixture has.

    Weight 1 takes every record once, 2.5 takes every record twice and half of them, chosen anew each epoch, a
    third time. `BucketedDataset(mix([(code, 0.5), (chat, 2)]), ...)` plans over it as over one store. A batch's
    `record_ids` number the records of all sources one after another.

    Raises:
        InputError: no sources, a weight that is not positive, or sources of different encodings.

    >>> from fastcollate import Ragged, StoreWriter
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1], [2], [3], [4]]))
    >>> store = TokenStore(directory)
    >>> len(mix([(store, 0.5), (store, 2)]))
    10
    """
    if not sources:
        raise InputError("mix got no sources: give it (store, weight) pairs")
    if not all(isinstance(source, tuple) and len(source) == 2 for source in sources):
        raise InputError("mix needs (store, weight) pairs")
    first = sources[0][0]
    for store, weight in sources:
        if not isinstance(store, TokenStore):
            raise InputError(f"mix got a {type(store).__name__} as a source: give it (TokenStore, weight) pairs")
        if not (isinstance(weight, int | float) and isfinite(weight) and weight > 0):
            raise InputError(f"mix got the weight {weight!r}: weights are epochs of a store, above 0")
        if store.manifest.encoding != first.manifest.encoding:
            raise InputError(
                f"mix got stores of encodings {first.encoding!r} and {store.encoding!r}, which are not the same: "
                "prepare them with one encoding"
            )
    return Mixture([store for store, _ in sources], [float(weight) for _, weight in sources])


class Mixture:
    """A virtual store over several; see `mix`. What it holds depends on the epoch: see `at_epoch`."""

    def __init__(self, stores: list[TokenStore], weights: list[float]) -> None:
        self.stores = stores
        self.weights = weights
        self.counts = [
            max(1, int(len(store) * weight + 0.5)) if len(store) else 0
            for store, weight in zip(stores, weights, strict=True)
        ]

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def encoding(self) -> str:
        """The name of the encoding all sources share."""
        return self.stores[0].encoding

    @property
    def eot_token_id(self) -> int:
        """The end-of-text token of the encoding."""
        return self.stores[0].eot_token_id

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any source or weight."""
        parts = [
            f"{store.fingerprint}:{weight!r}" for store, weight in zip(self.stores, self.weights, strict=True)
        ]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    @cached_property
    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """int64[M] each: distinct lengths, and how many records to expect of each (it varies by epoch)."""
        found: dict[int, float] = {}
        for store, count in zip(self.stores, self.counts, strict=True):
            lengths, counts = store.length_histogram
            for length, share in zip(
                lengths.tolist(), (counts * (count / max(1, len(store)))).tolist(), strict=True
            ):
                found[length] = found.get(length, 0.0) + share
        lengths = np.array(sorted(found), np.int64)
        exact = np.cumsum([0.0, *(found[length] for length in lengths.tolist())])
        rounded: IntArray = np.floor(exact + 0.5).astype(np.int64)
        return lengths, rounded[1:] - rounded[:-1]

    @property
    def has_spans(self) -> bool:
        """Whether all sources say which of their tokens are supervised."""
        return all(store.has_spans for store in self.stores)

    @property
    def num_tokens(self) -> int:
        """Tokens to expect of an epoch; where a weight is a fraction, epochs differ a little."""
        lengths, counts = self.length_histogram
        return int((lengths * counts).sum())

    def __getitem__(self, record_id: int) -> NDArray[Any]:
        """The tokens of the record that a batch's `record_ids` name, as a view of its store."""
        store, index = self.locate(record_id)
        return store[index]

    def spans(self, record_id: int) -> NDArray[np.uint32]:
        """uint32[S, 2], the supervised token positions of that record."""
        store, index = self.locate(record_id)
        return store.spans(index)

    def text(self, record_id: int) -> str:
        """That record decoded."""
        store, index = self.locate(record_id)
        return store.text(index)

    def locate(self, record_id: int) -> tuple[TokenStore, int]:
        """The store, and the record of it, that a batch's `record_ids` name."""
        for store in self.stores:
            if 0 <= record_id < len(store):
                return store, record_id
            record_id -= len(store)
        raise InputError(f"a mixture of {sum(map(len, self.stores))} records has no record {record_id}")

    def at_epoch(self, seed: int, epoch: int) -> MixtureEpoch:
        """The records of one epoch, a pure function of (seed, epoch)."""
        keys = [derive_key(seed, epoch, _CHOICE, number) for number in range(len(self.stores))]
        return MixtureEpoch(self, keys)


class MixtureEpoch:
    """The records of a mixture in one epoch, numbered from 0 source after source."""

    def __init__(self, mixture: Mixture, keys: list[int]) -> None:
        self._stores = mixture.stores
        self._has_spans = mixture.has_spans
        self._keys = keys
        self._begins = np.cumsum([0, *mixture.counts])
        self._bases = np.cumsum([0, *map(len, mixture.stores)])

    def lengths_at(self, indices: IntArray) -> IntArray:
        """int64[M], the tokens of the records `indices: int64[M]`."""
        out = np.empty(len(indices), np.int64)
        for number, places, records in self._by_source(indices):
            out[places] = self._stores[number].lengths_at(records)
        return out

    def gather(self, indices: IntArray, *, width: int | None = None) -> RaggedBatch:
        """The records `indices: int64[B]` (-1: a filler row) side by side, copied."""
        ids = np.full(len(indices), -1, np.int64)
        parts: list[tuple[IntArray, RaggedBatch]] = []
        for number, places, records in self._by_source(indices):
            ids[places] = records + self._bases[number]
            parts.append((places, self._stores[number].gather(records)))
        tokens = rows_side_by_side(len(indices), parts, np.dtype(self._stores[0].manifest.dtype))
        spans = None
        if self._has_spans:
            spans = rows_side_by_side(
                len(indices), [(places, _spans_of(part)) for places, part in parts], np.dtype(np.uint32)
            )
        return RaggedBatch(tokens.values, tokens.starts, tokens.lengths, record_ids=ids, spans=spans, width=width)

    def _by_source(self, indices: IntArray) -> list[tuple[int, IntArray, IntArray]]:
        """(source, places in `indices`, records of the source), for the sources that occur."""
        homes = np.searchsorted(self._begins, indices, side="right") - 1
        found = []
        for number in np.unique(homes[indices >= 0]).tolist():
            places = np.flatnonzero(homes == number)
            size = len(self._stores[number])
            turn, inside = np.divmod(indices[places] - self._begins[number], size)
            whole = (self._begins[number + 1] - self._begins[number]) // size
            chosen = turn == whole  # beyond the whole epochs: a part of the source, another each epoch
            inside[chosen] = permute(inside[chosen], size, self._keys[number])
            found.append((number, places, inside))
        return found


def _spans_of(batch: RaggedBatch) -> Rows:
    assert batch.spans is not None
    return batch.spans
