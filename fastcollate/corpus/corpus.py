"""What a dataset reads: the protocols that every corpus keeps, and a corpus in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.row_checks import check_labels, check_spans
from fastcollate.corpus.row_targets import count_targets
from fastcollate.errors import FastCollateError, InputError
from fastcollate.plan.sorting import default_block
from fastcollate.ragged import Column, Found, IntArray, Ragged, RaggedBatch, Rows, Scattered, bounds_at
from fastcollate.storage.local import MappedFile
from fastcollate.store.shards.background import Unverified

__all__ = [
    "Corpus",
    "RaggedCorpus",
    "Records",
    "RecordsOfFiles",
    "as_corpus",
    "block_of",
    "find_in",
    "knows_places",
    "token_bytes",
]


class Records(Protocol):
    """The records of one pass over a corpus, numbered from 0."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        ...

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records `indices: int64[R]` lie, and the `columns` asked for; nothing is copied.

        `record_ids` say which record of the corpus each is.
        """
        ...

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the same records as a batch: what `find` returns, copied side by side unless it is one array."""
        ...


@runtime_checkable
class RecordsOfFiles(Protocol):
    """Records that come from files which may have changed since they were written."""

    def unverified(self) -> Sequence[Unverified]:
        """Return the files they come from that were not hashed yet; datasets do it while they read."""
        ...

    def mapped(self) -> Iterable[MappedFile]:
        """Return the files that were read so far; datasets look whether they change."""
        ...


class Corpus(Protocol):
    """Records of tokens that a dataset can plan over: a store, a mixture, an array in memory.

    Attributes:
        fingerprint: A text that changes with any byte of the data; a run is resumed only over an equal one.
        eot_token_id: The end-of-text token, or None where nobody knows it.
        columns: What the corpus has beside its tokens, by name.
    """

    @property
    def fingerprint(self) -> str:
        """A text that changes with any byte of the data."""
        ...

    @property
    def eot_token_id(self) -> int | None:
        """The end-of-text token, or None where nobody knows it."""
        ...

    @property
    def columns(self) -> Mapping[str, Column]:
        """What the corpus has beside its tokens, by name."""
        ...

    def __len__(self) -> int:
        """Return the records of one epoch."""
        ...

    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """Return the distinct lengths, rising, and how many records have each: int64[M] both."""
        ...

    def at_epoch(self, seed: int, epoch: int) -> Records:
        """Return the records of one epoch, a function of its arguments alone."""
        ...


_MEMBERS = ("__len__", "at_epoch", "columns", "eot_token_id", "fingerprint", "length_histogram")


class RaggedCorpus:
    """A `RaggedCorpus` is a corpus in memory: the rows of a `Ragged` are its records.

    Args:
        rows: The tokens of the records, none of which is empty.
        eot_token_id: The end-of-text token; by default nobody knows it.
        spans: The supervised parts of each record as flat (start, stop) pairs; by default nothing is said.
        labels: One label for each token; by default nothing is said.
        groups: The number of the group that each record belongs to, int64[N], of neighbours; by default none does.

    Raises:
        InputError: An empty record, a negative token, or a column that does not fit the rows.

    >>> corpus = RaggedCorpus(Ragged.from_rows([[1, 2, 3], [4]]))
    >>> len(corpus), corpus.at_epoch(0, 0).gather(np.array([1])).lengths
    (2, array([1]))
    """

    def __init__(
        self,
        rows: Ragged,
        *,
        eot_token_id: int | None = None,
        spans: Ragged | None = None,
        labels: Ragged | None = None,
        groups: IntArray | None = None,
    ) -> None:
        self.rows = rows
        self.eot_token_id = eot_token_id
        alone = None if groups is None else Ragged(np.asarray(groups, np.int64), np.arange(len(groups) + 1))
        beside = {"spans": spans, "labels": labels, "group": alone}
        self._beside = {name: part for name, part in beside.items() if part is not None}
        self._lengths = rows.lengths
        for name, part in self._beside.items():
            if len(part) != len(rows):
                raise InputError(f"{name} has {len(part)} rows where there are {len(rows)}: it needs one for each")
        if labels is not None and not np.array_equal(labels.lengths, self._lengths):
            raise InputError(
                "labels has rows of other lengths than the records: it needs one label for each token"
            )
        if len(rows) and int(self._lengths.min()) == 0:
            empty = int(self._lengths.argmin())
            raise InputError(f"record {empty} is empty: a record needs at least one token; leave it out")
        used = rows.compact().values
        if used.dtype == np.int64 and len(used) and int(used.min()) < 0:
            raise InputError(f"a record holds the token id {used.min()}: token ids are numbered from 0")
        if labels is not None:
            check_labels(labels)
        if spans is not None:
            check_spans(spans, self._lengths)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The tokens of record `index`, as a view."""
        return self.rows[index]

    def __repr__(self) -> str:
        return f"RaggedCorpus({len(self)} records, {int(self._lengths.sum())} tokens)"

    @property
    def num_tokens(self) -> int:
        """The tokens of all records together."""
        return int(self._lengths.sum())

    @property
    def token_bytes(self) -> int:
        """The bytes of the tokens of all records together."""
        return self.num_tokens * self.rows.values.itemsize

    @property
    def lengths(self) -> IntArray:
        """The tokens of each record, int64[N]."""
        return self._lengths

    @property
    def columns(self) -> Mapping[str, Column]:
        """`spans`, `labels` and `group`, where they were given."""
        kinds = {
            "spans": Column("int64", "span"),
            "labels": Column("int64", "token"),
            "group": Column("int64", "record"),
        }
        return {name: kinds[name] for name in self._beside}

    def groups(self) -> IntArray:
        """Return the number of each record's group, int64[N]; -1 is none."""
        return self._beside["group"].values if "group" in self._beside else np.full(len(self), -1)

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any token, boundary or column."""
        digest = hashlib.sha256()
        for name, part in {"input_ids": self.rows, **self._beside}.items():
            whole = part.compact()
            digest.update(f"{name}:{whole.values.dtype}:{len(whole)}:{len(whole.values)};".encode())
            digest.update(np.ascontiguousarray(whole.offsets).data)
            digest.update(np.ascontiguousarray(whole.values).data)
        return digest.hexdigest()

    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """Return the distinct lengths, rising, and how many records have each: int64[M] both."""
        return np.unique(self._lengths, return_counts=True)

    def at_epoch(self, seed: int, epoch: int) -> RaggedCorpus:  # noqa: ARG002  # a mixture's depend on them
        """Return the records of one epoch: all of them, in every epoch."""
        return self

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        return self._lengths[indices]

    def supervised_at(self, indices: IntArray) -> IntArray:
        """Return the targets of the records `indices: int64[M]`, int64[M]; all tokens where nothing is said."""
        return self._targets[indices]

    @cached_property
    def _targets(self) -> IntArray:
        beside = self._beside
        return count_targets(self._lengths, spans=beside.get("spans"), labels=beside.get("labels"))

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records `indices: int64[B]` as a batch, without a copy, with the `columns` asked for."""
        return self.find(indices, columns).batch()

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records `indices: int64[R]` lie, with the `columns` asked for."""
        beside = {name: _chosen(self._beside[name], indices) for name in columns}
        return Found(indices, _chosen(self.rows, indices), beside)


def find_in(records: Records, indices: IntArray, columns: Collection[str]) -> Found:
    """Return where records lie; those of a corpus that knows only how to gather are gathered."""
    if not knows_places(records):
        return Found.of(records.gather(indices, columns))
    return records.find(indices, columns)


def knows_places(records: Records) -> bool:
    """Return whether records can `find` without a copy; those that cannot are gathered in small steps.

    A corpus of your own may leave `find` out, or say that its records `copies` what they find.
    """
    return hasattr(records, "find") and not getattr(records, "copies", False)


def token_bytes(corpus: Corpus) -> int:
    """Return the bytes of a corpus's tokens; of one that does not say it, 4 for each token of an epoch."""
    said: int | None = getattr(corpus, "token_bytes", None)
    if said is not None:
        return said
    lengths, counts = corpus.length_histogram()
    return 4 * int(lengths @ counts)


def block_of(corpus: Corpus, shuffle_block: int | None) -> int:
    """Return how many consecutive records stay together in a shuffle; for None the corpus decides it alone."""
    if shuffle_block is not None:
        return shuffle_block
    return default_block(token_bytes(corpus), len(corpus))


def _chosen(rows: Ragged, indices: IntArray) -> Scattered:
    return Scattered.of(Rows(rows.values, *bounds_at(rows.offsets, indices)))


def as_corpus(source: Any, *, error: type[FastCollateError] = InputError) -> Corpus:
    """Return a corpus as it is, and a `Ragged` as a corpus in memory.

    Raises:
        FastCollateError: `error`, if `source` is neither; the message says how to make one of it.
    """
    if isinstance(source, Ragged):
        return RaggedCorpus(source)
    if not all(hasattr(type(source), name) or hasattr(source, name) for name in _MEMBERS):
        raise error(
            f"the corpus is a {type(source).__name__}: open one with TokenStore(path), mix several with mix(...), "
            "or give rows in memory as Ragged.from_rows(rows)"
        )
    corpus: Corpus = source
    return corpus
