"""Several corpora as one, in proportions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.corpus import Corpus, Records, RecordsOfFiles, as_corpus, find_in
from fastcollate.errors import InputError
from fastcollate.plan.permutation import Permutations, Purpose, derive_key
from fastcollate.ragged import Column, Found, IntArray, RaggedBatch, places_by_home
from fastcollate.storage.local import MappedFile
from fastcollate.store.shards.background import Unverified

__all__ = ["Mixture", "mix"]

_MOST_EPOCHS = 10**6  # weights beyond it are a mistake


def mix(sources: Sequence[tuple[Corpus, float]]) -> Mixture:
    """Return several corpora as one, without a copy.

    An epoch of `mix([(code, 0.5), (chat, 2)])` has half of the records of `code` and each record of `chat` twice,
    and any dataset plans over them as over one corpus. A batch's `record_ids` number the records of all sources
    one after another, and `mixture[i]` is the record with that number. With `shuffle=False` an epoch delivers the
    sources one after another.

    Args:
        sources: Pairs of a corpus and a weight. A corpus is a store, a view of one, a `Ragged`, or another
            mixture, whose sources then have the product of both weights. The weight is how many epochs of the
            corpus one epoch of the mixture has: 1 takes every record once; 2.5 takes every record twice and half
            of them, chosen anew each epoch, a third time.

    Raises:
        InputError: There are no sources, a weight is not a positive number, or the encodings of two sources
            differ.

    >>> from fastcollate import Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1], [2], [3], [4]]))
    >>> store = TokenStore(directory)
    >>> len(mix([(store, 0.5), (store, 2)])), len(mix([(mix([(store, 2)]), 0.5)]))
    (10, 4)
    """
    if not isinstance(sources, Sequence):
        raise InputError(f"mix got a {type(sources).__name__}: give it a list of (corpus, weight) pairs")
    if not sources:
        raise InputError("mix got no sources: give it (corpus, weight) pairs")
    if not all(isinstance(source, tuple) and len(source) == 2 for source in sources):
        raise InputError("mix needs (corpus, weight) pairs")
    flat: list[_Source] = []
    for given, weight in sources:
        if isinstance(weight, bool) or not (isinstance(weight, int | float) and 0 < weight <= _MOST_EPOCHS):
            raise InputError(
                f"mix got the weight {weight!r:.30}: weights are epochs of a corpus, above 0, to {_MOST_EPOCHS}"
            )
        corpus = as_corpus(given)
        inner = corpus.sources if isinstance(corpus, Mixture) else [_Source(corpus, 1.0)]
        flat += [_Source(source.corpus, source.weight * float(weight)) for source in inner]
    encodings = [_encoding_of(source.corpus) for source in flat]
    for found in encodings:
        if found != encodings[0]:
            raise InputError(
                f"mix got corpora of encodings {encodings[0].name!r} and {found.name!r}, which are not the same: "
                "prepare them with one encoding"
            )
    if len({"labels" in source.corpus.columns for source in flat}) > 1:
        raise InputError(
            "mix got labels with some corpora and not with others: give labels to all, such as the tokens"
        )
    return Mixture(flat)


class _Source(NamedTuple):
    """A corpus, and how many epochs of it an epoch of the mixture has."""

    corpus: Corpus
    weight: float


class _Encoding(NamedTuple):
    """What two corpora must share to be mixed: the name, and what gives the ids their meaning."""

    name: str
    identity: object


def _encoding_of(corpus: Corpus) -> _Encoding:
    manifest = getattr(corpus, "manifest", None)
    if manifest is not None:
        return _Encoding(manifest.encoding.name, manifest.encoding)
    return _Encoding("unknown", corpus.eot_token_id)


class Mixture:
    """A virtual corpus over several; see `mix`. What it holds depends on the epoch: see `at_epoch`."""

    def __init__(self, sources: list[_Source]) -> None:
        self.sources = sources
        self.counts = [max(1, int(len(corpus) * weight + 0.5)) if len(corpus) else 0 for corpus, weight in sources]

    def __len__(self) -> int:
        return sum(self.counts)

    def __repr__(self) -> str:
        parts = ", ".join(f"({source.corpus!r}, {source.weight:g})" for source in self.sources)
        return f"Mixture({len(self)} records an epoch of {parts})"

    @property
    def eot_token_id(self) -> int | None:
        """The end-of-text token of the encoding that all sources share."""
        return self.sources[0].corpus.eot_token_id

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The columns that all sources have."""
        first, *others = (source.corpus.columns for source in self.sources)
        return {name: kind for name, kind in first.items() if all(other.get(name) == kind for other in others)}

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any source or weight."""
        parts = [f"{source.corpus.fingerprint}:{source.weight!r}" for source in self.sources]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """Return the distinct lengths, and how many records of each to expect of an epoch: int64[M] both."""
        return self._histogram

    @cached_property
    def _histogram(self) -> tuple[IntArray, IntArray]:
        found: dict[int, float] = {}
        for (corpus, _), count in zip(self.sources, self.counts, strict=True):
            lengths, counts = corpus.length_histogram()
            shares = counts * (count / max(1, len(corpus)))
            for length, share in zip(lengths.tolist(), shares.tolist(), strict=True):
                found[length] = found.get(length, 0.0) + share
        lengths = np.array(sorted(found), np.int64)
        exact = np.cumsum([0.0, *(found[length] for length in lengths.tolist())])
        rounded: IntArray = np.floor(exact + 0.5).astype(np.int64)
        return lengths, rounded[1:] - rounded[:-1]

    @property
    def num_tokens(self) -> int:
        """The tokens to expect of an epoch; where a weight is a fraction, epochs differ a little."""
        lengths, counts = self._histogram
        return int((lengths * counts).sum())

    def __getitem__(self, record_id: int) -> NDArray[Any]:
        """The tokens of the record that a batch's `record_ids` name, as a view of its source."""
        corpus, index = self.locate(record_id)
        found: NDArray[Any] = corpus[index]
        return found

    def __iter__(self) -> Never:
        raise TypeError(
            "a mixture has no order of its own: iterate a BucketedDataset or PackedDataset over it, or its sources"
        )

    def spans(self, record_id: int) -> NDArray[np.uint32]:
        """Return the supervised token positions of that record, uint32[S, 2]."""
        corpus, index = self.locate(record_id)
        found: NDArray[np.uint32] = corpus.spans(index)
        return found

    def text(self, record_id: int) -> str:
        """Return that record decoded."""
        corpus, index = self.locate(record_id)
        return str(corpus.text(index))

    def locate(self, record_id: int) -> tuple[Any, int]:
        """Return the source, and the record of it, that a batch's `record_ids` name.

        Raises:
            IndexError: The sources together have no such record; negative numbers are none.
        """
        rest = int(record_id)
        for corpus, _ in self.sources:
            if 0 <= rest < len(corpus):
                return corpus, rest
            rest -= len(corpus)
        together = sum(len(corpus) for corpus, _ in self.sources)
        raise IndexError(f"record {record_id} of a mixture whose sources have {together} records together")

    def at_epoch(self, seed: int, epoch: int) -> MixtureRecords:
        """Return the records of one epoch, a pure function of (seed, epoch)."""
        keys = [derive_key(seed, epoch, Purpose.CHOICE, number) for number in range(len(self.sources))]
        return MixtureRecords(self, [source.corpus.at_epoch(seed, epoch) for source in self.sources], keys)


class MixtureRecords:
    """The records of a mixture in one epoch, numbered from 0 source after source."""

    def __init__(self, mixture: Mixture, records: list[Records], keys: list[int]) -> None:
        self._records = records
        sizes = [len(source.corpus) for source in mixture.sources]
        self._sizes = np.maximum(sizes, 1)  # nobody asks for a record of an empty source
        self._begins = np.cumsum([0, *mixture.counts])
        self._bases = np.cumsum([0, *sizes])
        self._whole = np.array(mixture.counts) // self._sizes  # epochs of each source that are not a part of it
        self._choice = Permutations(self._sizes, keys)

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        out = np.empty(len(indices), np.int64)
        sources, rows = self.locate(indices)
        for number, places in places_by_home(sources):
            out[places] = self._records[number].lengths_at(rows[places])
        return out

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records `indices: int64[R]` lie in their sources, with the `columns` asked for."""
        sources, rows = self.locate(indices)
        parts = [
            (places, find_in(self._records[number], rows[places], columns))
            for number, places in places_by_home(sources)
        ]
        if not parts:
            return find_in(self._records[0], indices, columns)
        return Found.merged(len(indices), parts)._replace(record_ids=rows + self._bases[sources])

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records `indices: int64[B]` as a batch, with the `columns` asked for."""
        return self.find(indices, columns).batch()

    def unverified(self) -> list[Unverified]:
        """Return the shards of all sources whose files were not hashed yet."""
        return [shard for records in self._of_files() for shard in records.unverified()]

    def mapped(self) -> Iterator[MappedFile]:
        """Return the files that the records of all sources were read from so far, unless they are trusted."""
        for records in self._of_files():
            yield from records.mapped()

    def _of_files(self) -> list[RecordsOfFiles]:
        return [records for records in self._records if isinstance(records, RecordsOfFiles)]

    def locate(self, indices: IntArray) -> tuple[IntArray, IntArray]:
        """Return the number of each record's source, and its number in that source: int64[M] both.

        Beyond the whole epochs of a source its records are a part of it, another one each epoch.

        Args:
            indices: The records: int64[M].
        """
        sources = np.searchsorted(self._begins, indices, side="right") - 1
        turns, rows = np.divmod(indices - self._begins[sources], self._sizes[sources])
        chosen = np.flatnonzero(turns == self._whole[sources])
        rows[chosen] = self._choice.at(sources[chosen], rows[chosen])
        return sources, rows
