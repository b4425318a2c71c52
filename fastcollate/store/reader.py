"""A store as its readers see it: records by number, views of it, and what the manifest knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.arguments import check_choice
from fastcollate.errors import EncodingError, InputError, StoreChangedError, StoreError
from fastcollate.ragged import Column, IntArray, Ragged, row_numbers
from fastcollate.store.manifest import Manifest
from fastcollate.store.shard_files import Shard, map_shard
from fastcollate.store.sharded import ShardedRecords
from fastcollate.store.verify import check_files, check_hashes, check_index, read_manifest
from fastcollate.tokenizers.load import load_encoding

__all__ = ["TokenStore", "Verify"]

Verify = Literal["none", "index", "full"]


class _Opened(NamedTuple):
    """The manifest of a whole store, and its mapped shards."""

    manifest: Manifest
    shards: list[Shard]


class TokenStore:
    """A `TokenStore` maps a pretokenised corpus on disk; opening one reads no tokens.

    `len` is the number of records, and `store[i]` are the tokens of record `i` as a read-only view of the file;
    negative numbers count from the end. A store goes into any dataset, and its views by `split` do too.

    Args:
        path: The directory that `prepare` or a `StoreWriter` made.
        verify: How much is checked before the store is used: `"none"` trusts the files, `"index"` (the default)
            checks the files' presence and sizes and the records' boundaries, `"full"` hashes every byte. A copy of
            the store in another process checks as much.
        fingerprint: The fingerprint that the store must have, 64 hex digits; by default any store will do.

    Raises:
        StoreError: The store cannot be used; the error is one of the subclasses, such as `StoreCorruptError`, and
            names the file that is missing, truncated, swapped or changed.

    >>> from fastcollate import Ragged, StoreWriter
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72, 105, 256], [79, 107]]))
    >>> store = TokenStore(directory)
    >>> len(store), store.num_tokens, store.lengths, store[0]
    (2, 5, array([3, 2]), array([ 72, 105, 256], dtype=uint16))
    """

    def __init__(self, path: str | Path, *, verify: Verify = "index", fingerprint: str | None = None) -> None:
        if "://" in str(path):
            raise StoreError(f"{path}: remote stores cannot be read yet; copy the directory to a local disk")
        self.path = Path(path)
        self._verify: Verify = check_choice("verify", verify, get_args(Verify))
        self._wanted = fingerprint
        self._first = 0
        self._count = self._opened.manifest.records

    @cached_property
    def _opened(self) -> _Opened:
        manifest = read_manifest(self.path)
        if self._wanted is not None and self._wanted != manifest.fingerprint:
            raise StoreChangedError(
                f"{self.path} was replaced by another store while it was in use, or was never the one asked for "
                f"(its fingerprint is {manifest.fingerprint[:12]}..., not {str(self._wanted)[:12]}...): restart "
                "the run that reads it, or restore that store"
            )
        if self._verify != "none":
            check_files(self.path, manifest)
            check_index(self.path, manifest)
        shards = [map_shard(self.path, entry, manifest.layout, manifest.dtype) for entry in manifest.shards]
        if self._verify == "full":
            check_hashes(self.path, manifest)
        return _Opened(manifest, shards)

    @cached_property
    def _records(self) -> ShardedRecords:
        return ShardedRecords(self._opened.shards, self.manifest.records_per_shard, self._first)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The tokens of record `index`, uint16|uint32, as a view of the file."""
        shard, place = self._locate(index)
        return shard.tokens[place]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"TokenStore({str(self.path)!r}, {len(self)} records, {self.encoding!r})"

    def __getstate__(self) -> dict[str, Any]:
        """To another process go the address and the fingerprint; it opens the files when it first reads them."""
        wanted = {"_verify": self._verify, "_wanted": self.manifest.fingerprint}
        return {"path": self.path, "_first": self._first, "_count": self._count, **wanted}

    @property
    def manifest(self) -> Manifest:
        """What the store says of itself: shards, encoding, lengths, rejected records."""
        return self._opened.manifest

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
    def columns(self) -> Mapping[str, Column]:
        """What the store has beside its tokens, by name: `spans`, if records say what is supervised."""
        return {"spans": Column("uint32", "span")} if self.has_spans else {}

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any byte of the data, or with the view taken of it."""
        whole = self.manifest.fingerprint
        if self._count == self.manifest.records:
            return whole
        return hashlib.sha256(f"{whole}:{self._first}:{self._count}".encode()).hexdigest()

    @cached_property
    def lengths(self) -> IntArray:
        """The tokens of each record, int64[N]."""
        return self._records.lengths(self._count)

    @cached_property
    def num_tokens(self) -> int:
        """The tokens of all records together."""
        if self._count == self.manifest.records:
            return self.manifest.tokens
        return int(self.lengths.sum())

    def at_epoch(self, seed: int, epoch: int) -> ShardedRecords:  # noqa: ARG002  # a mixture's depend on them
        """Return the records of one epoch: in a store all of them, in every epoch."""
        return self._records

    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """Return the distinct lengths, rising, and how many records have each: int64[M] both."""
        return self._histogram

    @cached_property
    def _histogram(self) -> tuple[IntArray, IntArray]:
        if self._count == self.manifest.records:
            pairs = np.array(self.manifest.lengths, np.int64)
            return pairs[:, 0], pairs[:, 1]
        return np.unique(self.lengths, return_counts=True)

    def take(self, indices: ArrayLike) -> Ragged:
        """Return some of the records side by side, copied.

        Args:
            indices: The numbers of the records wanted, int64[M], in any order and as often as wanted; each is from
                0 to `len(store) - 1`.

        Raises:
            InputError: The indices are no flat integers, or name a record that does not exist.
        """
        return self._records.gather(row_numbers(indices, len(self))).tokens.to_ragged()

    def spans(self, index: int) -> NDArray[np.uint32]:
        """Return the supervised (start, stop) token positions of record `index`, uint32[S, 2]."""
        shard, place = self._locate(index)
        return shard.spans[place].reshape(-1, 2)

    def source_row(self, index: int) -> int:
        """Return the row of the source that record `index` came from."""
        shard, place = self._locate(index)
        return int(shard.source_rows[place])

    def text(self, index: int) -> str:
        """Return record `index` decoded; bytes that are not UTF-8 become U+FFFD."""
        tokenizer, written = load_encoding(self.encoding), self.manifest.encoding
        if tokenizer.sha256 != written.sha256:
            raise EncodingError(
                f"{self.path} was written with another encoding named {written.name!r} than this machine's: "
                "decode `store[i]` with the one that wrote it"
            )
        return tokenizer.decode(self[index])

    def verify(self) -> None:
        """Hash every byte of every file, and compare the hashes with the manifest's.

        Raises:
            StoreCorruptError: A file differs; the first that does is named.
        """
        check_files(self.path, self.manifest)
        check_hashes(self.path, self.manifest)

    def split(self, shares: Mapping[str, float | None]) -> dict[str, TokenStore]:
        """Return views of consecutive parts of the store, by name; nothing is copied.

        Args:
            shares: The share of the records of each part, from 0 to 1, in the order in which the parts follow each
                other. A part has `int(len(store) * share)` records; the one part whose share is None has the rest.

        Raises:
            InputError: A share is below 0 or above 1, the shares are more than the whole, or two are None.

        >>> from fastcollate import Ragged, StoreWriter
        >>> import tempfile
        >>> directory = tempfile.mkdtemp() + "/store"
        >>> with StoreWriter(directory, encoding="bytes") as writer:
        ...     writer.append(Ragged.from_rows([[n] for n in range(10)]))
        >>> parts = TokenStore(directory).split({"train": 0.85, "test": None})
        >>> {name: len(part) for name, part in parts.items()}, parts["test"][0]
        ({'train': 8, 'test': 2}, array([8], dtype=uint16))
        """
        counts = {name: _share_count(name, share, len(self)) for name, share in shares.items()}
        rest = len(self) - sum(counts.values())
        whole = sum(share for share in shares.values() if share is not None)
        if list(shares.values()).count(None) > 1 or rest < 0 or whole > 1 + 1e-9:
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
        part = {"_first": self._first + first, "_count": count, "_opened": self._opened}
        view.__dict__.update(self.__getstate__() | part)
        return view

    def _locate(self, index: int) -> tuple[Shard, int]:
        if not isinstance(index, int | np.integer):
            raise InputError(f"record {index!r} of a store: give one number; take([...]) copies several records")
        if not -self._count <= index < self._count:
            raise IndexError(f"record {index} of a store with {self._count} records")
        return self._records.locate(int(index) % self._count)


def _share_count(name: str, share: float | None, records: int) -> int:
    if share is None:
        return 0
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InputError(
            f"split share {name!r} is {share!r}: a share is a number from 0 to 1, or None for the rest"
        )
    return int(records * share)
