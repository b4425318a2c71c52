from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.errors import (
    EncodingError,
    InputError,
    StoreChangedError,
    StoreError,
)
from fastcollate.ragged import IntArray, Ragged, RaggedBatch, Rows, row_numbers
from fastcollate.store.shard_files import Shard, map_shard
from fastcollate.store.sharded import ShardedRecords
from fastcollate.store.verify import check_files, check_hashes, check_index, read_manifest
from fastcollate.tokenizers.load import load_encoding


class Records(Protocol):
    """What an epoch reads: lengths to plan with, and batches of rows."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        """int64[M], the tokens of the records `indices: int64[M]`."""
        ...

    def gather(self, indices: IntArray, *, width: int | None = None) -> RaggedBatch:
        """The records `indices: int64[B]` (-1: a filler row) as a batch."""
        ...


Verify = Literal["none", "index", "full"]


class TokenStore:
    """A pretokenised corpus on disk, memory-mapped: opening it reads no tokens.

    Args:
        path: the directory `prepare` or a `StoreWriter` made.
        verify: `"none"` trusts the files, `"index"` checks their presence, sizes and record boundaries,
            `"full"` hashes every byte.
        cache_dir: where shards of a remote store are kept; local stores have no use for it.

    Raises:
        StoreError: one of its subclasses, naming the file: missing, incomplete, truncated, swapped or changed.

    >>> from fastcollate import Ragged, StoreWriter
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72, 105, 256], [79, 107]]))
    >>> store = TokenStore(directory)
    >>> len(store), store.num_tokens, store.lengths, store[0]
    (2, 5, array([3, 2]), array([ 72, 105, 256], dtype=uint16))
    """

    def __init__(self, path: str | Path, *, verify: Verify = "index", cache_dir: str | Path | None = None) -> None:
        if verify not in ("none", "index", "full"):
            raise InputError(f"verify is {verify!r}: it must be 'none', 'index' or 'full'")
        if cache_dir is not None or "://" in str(path):
            raise StoreError(f"{path}: remote stores cannot be read yet; copy the directory to a local disk")
        self.path = Path(path)
        self.manifest = manifest = read_manifest(self.path)
        if verify != "none":
            check_files(self.path, manifest)
            check_index(self.path, manifest)
        shards = [map_shard(self.path, entry, manifest.layout, manifest.dtype) for entry in manifest.shards]
        if verify == "full":
            check_hashes(self.path, manifest)
        self._records = ShardedRecords(shards, manifest.records_per_shard, 0)
        self._count = manifest.records

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The tokens of record `index`, uint16|uint32, as a view of the file."""
        shard, row = self._locate(index)
        return shard.tokens[row]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"TokenStore({str(self.path)!r}, {len(self)} records, {self.encoding!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Open the same files in the other process, rather than carry them there."""
        return _reopen, (self.path, self.manifest.fingerprint, self._records.first, self._count)

    @property
    def encoding(self) -> str:
        """The name of the encoding, for `load_encoding`."""
        return self.manifest.encoding.name

    @property
    def eot_token_id(self) -> int:
        """The end-of-text token of the encoding."""
        return self.manifest.encoding.eot_token_id

    @property
    def has_spans(self) -> bool:
        """Whether records say which of their tokens are supervised."""
        return self.manifest.has_spans

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any byte of the data, or with the view taken of it."""
        whole = self.manifest.fingerprint
        if self._count == self.manifest.records:
            return whole
        return hashlib.sha256(f"{whole}:{self._records.first}:{self._count}".encode()).hexdigest()

    @cached_property
    def lengths(self) -> IntArray:
        """int64[N], the tokens of each record."""
        return self._records.lengths(self._count)

    @cached_property
    def num_tokens(self) -> int:
        """Tokens of all records."""
        if self._count == self.manifest.records:
            return self.manifest.tokens
        return int(self.lengths.sum())

    def at_epoch(self, seed: int, epoch: int) -> TokenStore:  # noqa: ARG002  # a mixture's records depend on them
        """The records of an epoch: all of them, in every epoch."""
        return self

    @cached_property
    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """int64[M] each: the distinct lengths, rising, and how many records have each."""
        if self._count == self.manifest.records:
            pairs = np.array(self.manifest.lengths, np.int64)
            return pairs[:, 0], pairs[:, 1]
        return np.unique(self.lengths, return_counts=True)

    def lengths_at(self, indices: IntArray) -> IntArray:
        """int64[M], the tokens of the records `indices: int64[M]`, read from the mapped index."""
        return self._records.lengths_at(indices)

    def gather(self, indices: IntArray, *, width: int | None = None) -> RaggedBatch:
        """The records `indices: int64[B]` as a batch, without a copy where they lie in one shard.

        -1 stands for a filler row, which may only follow real ones. Spans are looked up when asked for.
        """
        if len(indices) and indices[-1] < 0:
            return self._gather_filled(indices, width)
        rows = self._records.rows("tokens", indices)
        spans = partial(self._records.rows, "spans", indices) if self.has_spans else None
        return RaggedBatch(rows.values, rows.starts, rows.lengths, record_ids=indices, spans=spans, width=width)

    def _gather_filled(self, indices: IntArray, width: int | None) -> RaggedBatch:
        real = indices[indices >= 0]
        missing = np.zeros(len(indices) - len(real), np.int64)
        rows, spans = (
            self._records.rows("tokens", real),
            self._records.rows("spans", real) if self.has_spans else None,
        )
        return RaggedBatch(
            rows.values,
            np.concatenate([rows.starts, missing]),
            np.concatenate([rows.lengths, missing]),
            record_ids=indices,
            spans=None
            if spans is None
            else Rows(
                spans.values,
                np.concatenate([spans.starts, missing]),
                np.concatenate([spans.lengths, missing]),
            ),
            width=width,
        )

    def take(self, indices: ArrayLike) -> Ragged:
        """The records `indices: int64[M]` side by side, copied."""
        return self._records.rows("tokens", row_numbers(indices, len(self))).to_ragged()

    def spans(self, index: int) -> NDArray[np.uint32]:
        """uint32[S, 2], the supervised (start, stop) token positions of record `index`."""
        shard, row = self._locate(index)
        return shard.spans[row].reshape(-1, 2)

    def source_row(self, index: int) -> int:
        """The row of the source that record `index` came from."""
        shard, row = self._locate(index)
        return int(shard.source_rows[row])

    def text(self, index: int) -> str:
        """Record `index` decoded; bytes that are not UTF-8 become U+FFFD."""
        tokenizer, written = load_encoding(self.encoding), self.manifest.encoding
        if tokenizer.sha256 != written.sha256:
            raise EncodingError(
                f"{self.path} was written with another encoding named {written.name!r} than this machine's: "
                "decode `store[i]` with the one that wrote it"
            )
        return tokenizer.decode(self[index])

    def verify(self) -> None:
        """Hash every byte of every file against the manifest.

        Raises:
            StoreCorruptError: naming the first file that differs.
        """
        check_files(self.path, self.manifest)
        check_hashes(self.path, self.manifest)

    def split(self, shares: Mapping[str, float | None]) -> dict[str, TokenStore]:
        """Cut the store into consecutive parts, without copying, in the order given.

        Each part has `int(len(store) * share)` records; the one part whose share is None has the rest.

        Raises:
            InputError: shares that are negative, more than one None, or more than the whole.
        """
        counts = {name: _share_count(name, share, len(self)) for name, share in shares.items()}
        rest = len(self) - sum(counts.values())
        if list(shares.values()).count(None) > 1 or rest < 0:
            raise InputError(f"split shares {dict(shares)!r}: together they are at most 1, and one None at most")
        parts: dict[str, TokenStore] = {}
        first = 0
        for name, share in shares.items():
            count = rest if share is None else counts[name]
            parts[name] = self._view(first, count)
            first += count
        return parts

    def _view(self, first: int, count: int) -> TokenStore:
        view = object.__new__(TokenStore)
        view.path, view.manifest = self.path, self.manifest
        view._records = self._records._replace(first=self._records.first + first)
        view._count = count
        return view

    def _locate(self, index: int) -> tuple[Shard, int]:
        if not -self._count <= index < self._count:
            raise IndexError(f"record {index} of a store with {self._count} records")
        return self._records.locate(index % self._count)


def _share_count(name: str, share: float | None, records: int) -> int:
    if share is None:
        return 0
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InputError(
            f"split share {name!r} is {share!r}: a share is a number from 0 to 1, or None for the rest"
        )
    return int(records * share)


def _reopen(path: Path, fingerprint: str, first: int, count: int) -> TokenStore:
    store = TokenStore(path, verify="none")
    if store.manifest.fingerprint != fingerprint:
        raise StoreChangedError(
            f"{path} was replaced by another store while it was in use: restart the run that reads it"
        )
    return store._view(first, count)  # noqa: SLF001
