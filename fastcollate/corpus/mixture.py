"""Several corpora as one, in proportions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.corpus import (
    Corpus,
    as_corpus,
    token_bytes,
)
from fastcollate.corpus.mixture_records import MixtureRecords
from fastcollate.errors import InputError
from fastcollate.plan.permutation import Purpose, derive_key
from fastcollate.ragged import Column, IntArray
from fastcollate.store.shards.dictionaries import Dictionaries

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
            differ. A corpus that does not know its encoding goes with one of the same end-of-text token.

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
    _check_encodings([source.corpus for source in flat])
    if len({"labels" in source.corpus.columns for source in flat}) > 1:
        raise InputError(
            "mix got labels with some corpora and not with others: give labels to all, such as the tokens"
        )
    return Mixture(flat)


class _Source(NamedTuple):
    """A corpus, and how many epochs of it an epoch of the mixture has."""

    corpus: Corpus
    weight: float


def _check_encodings(corpora: Sequence[Corpus]) -> None:
    """Make sure that ids mean the same in all corpora: of one that does not say so, by its end-of-text token."""
    told = [(corpus, getattr(corpus, "manifest", None)) for corpus in corpora]
    known = [manifest.encoding for _, manifest in told if manifest is not None]
    unknown = [corpus.eot_token_id for corpus, manifest in told if manifest is None]
    if other := next((found for found in known if found != known[0]), None):
        raise InputError(
            f"mix got corpora of encodings {known[0].name!r} and {other.name!r}, which are not the same: "
            "prepare them with one encoding"
        )
    ends = [*(encoding.eot_token_id for encoding in known[:1]), *unknown]
    if len(set(ends)) > 1 or (known and unknown and ends[0] is None):
        name = known[0].name if known else "unknown"
        raise InputError(
            f"mix got corpora of encodings {name!r} and 'unknown', with the end-of-text tokens {ends}: say that "
            "it is the same, as open_corpus(path, eot_token_id=...) does, or prepare them with one encoding"
        )


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
        """The columns that all sources have, and `weights`: those of sources without are 1."""
        first, *others = (source.corpus.columns for source in self.sources)
        shared = {name: kind for name, kind in first.items() if all(other.get(name) == kind for other in others)}
        if "labels" in first:  # which all have, of any dtype
            dtypes = [source.corpus.columns["labels"].dtype for source in self.sources]
            shared["labels"] = Column(str(np.result_type(*dtypes)), "token")
        weights = [source.corpus.columns["weights"] for source in self.sources if self._is_weighted(source)]
        return shared | {"weights": weights[0]} if weights else shared

    @staticmethod
    def _is_weighted(source: _Source) -> bool:
        return "weights" in source.corpus.columns

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

    @property
    def token_bytes(self) -> int:
        """The bytes of the tokens of all sources, each counted once."""
        return sum(token_bytes(corpus) for corpus, _ in self.sources)

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

    @cached_property
    def _dictionaries(self) -> Dictionaries:
        """The strings of columns, numbered through all sources; sources of text alone are asked."""
        corpora: list[Any] = [source.corpus for source in self.sources]
        return Dictionaries([corpus.words for corpus in corpora])

    def words(self, name: str) -> list[str]:
        """Return the strings that the numbers of a column stand for, as a store's `words` does.

        Raises:
            InputError: There is no such column of strings.
        """
        if not (name in self.columns and self.columns[name].is_text):
            raise InputError(f"the mixture has no column of strings {name!r}: its columns are {[*self.columns]}")
        return self._dictionaries.words(name)

    def at_epoch(self, seed: int, epoch: int) -> MixtureRecords:
        """Return the records of one epoch, a pure function of (seed, epoch)."""
        numbers = range(len(self.sources))
        return MixtureRecords(
            [source.corpus.at_epoch(seed, epoch) for source in self.sources],
            [len(source.corpus) for source in self.sources],
            self.counts,
            [derive_key(seed, epoch, Purpose.CHOICE, number) for number in numbers],
            {
                name: [self._dictionaries.table(name, number) for number in numbers]
                for name, column in self.columns.items()
                if column.is_text
            },
            unweighted={n: s.corpus.columns for n, s in enumerate(self.sources) if not self._is_weighted(s)},
        )
