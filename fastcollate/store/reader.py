"""A store as its readers see it: records by number, views of it, and what the manifest knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.arguments import check_choice, check_count
from fastcollate.errors import InputError
from fastcollate.ragged import Column, IntArray, Ragged, offsets_of, record_number, row_numbers
from fastcollate.store.decoding import tokenizer_of
from fastcollate.store.manifest import Manifest
from fastcollate.store.opened import Opened, Options, Verify, check_all, check_cache, open_store, place_of
from fastcollate.store.shards.shard import Shard
from fastcollate.store.shards.shard_arrays import STRING
from fastcollate.store.shards.sharded import ShardedRecords
from fastcollate.store.splitting import Part, group_numbers, name_of, part_sizes, records_of_part, units_of
from fastcollate.tokenizers.load import AnyEncoding
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["TokenStore"]


class TokenStore:
    """A `TokenStore` maps a pretokenised corpus on disk, or reads one in an object store; opening reads no tokens.

    `len` is the number of records, and `store[i]` are the tokens of record `i` as a read-only view of the file;
    negative numbers count from the end. A store goes into any dataset, and its views by `split` do too. Of one in
    an object store the index, all but the tokens, is copied to this machine once. Tokens come in blocks that are
    checked; what fails is tried again until the `timeout` of `storage_options` has passed.

    Args:
        path: The directory that `prepare` or a `StoreWriter` made, or the URL of a prefix: `s3://bucket/store`,
            `gs://...`, `az://...`.
        verify: How much is checked. `"none"` trusts the files. `"index"` (the default) checks at once that each
            file is there and has its size; datasets hash all files in the background of their first epoch, and
            tell of any difference before its last batch. `"full"` hashes every byte before the store is used. With
            both, datasets compare token ids with the vocabulary as they read; with each of the three the
            boundaries of a shard's records are checked when it is first read, so that nothing is read outside. A
            copy of the store in another process checks as much.
        fingerprint: The fingerprint that the store must have, 64 hex digits; by default any store will do. A store
            that grew since opens as it was at that fingerprint, with the records that it had then.
        cache_dir: The directory that keeps what an object store gave, for all processes that are given it. By
            default the index alone is, in `$FASTCOLLATE_CACHE_DIR`, `$XDG_CACHE_HOME` or `~/.cache`, and a process
            has up to 256 MiB of tokens in memory, or a quarter of what there is; so has each worker.
        cache_bytes: The bytes of tokens that `cache_dir` keeps at most, those read last; by default all it holds.
        storage_options: Settings of the object store, as `prepare` takes them; by default the environment's alone.

    Raises:
        StoreError: The store cannot be used; the error is one of the subclasses, such as `StoreCorruptError`, and
            names the file that is missing, truncated, swapped or changed.
        StorageError: The disk, the network or the server failed; the object and the range are named.
        InputError: An argument is wrong, or one of the cache's is given for a directory.

    >>> from fastcollate import Ragged, StoreWriter
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72, 105, 256], [79, 107]]))
    >>> store = TokenStore(directory)
    >>> len(store), store.num_tokens, store.lengths, store[0]
    (2, 5, array([3, 2]), array([ 72, 105, 256], dtype=uint16))
    """

    def __init__(
        self,
        path: str | Path,
        *,
        verify: Verify = "index",
        fingerprint: str | None = None,
        cache_dir: str | Path | None = None,
        cache_bytes: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.path: Path | str = place_of(path)
        check_choice("verify", verify, get_args(Verify))
        cache = check_cache(self.path, cache_dir, cache_bytes)
        self._options = Options(verify, fingerprint, *cache, storage_options)
        self._parts: tuple[Part, ...] = ()
        self._count = self._opened.manifest.records

    @cached_property
    def _opened(self) -> Opened:
        return open_store(self.path, self._options)

    @cached_property
    def _records(self) -> ShardedRecords:
        chosen: range | IntArray = range(self.manifest.records)
        grouped = self._parts and "group" in self.manifest.columns
        groups = self._opened.groups() if grouped else []
        for part in self._parts:
            chosen = records_of_part(part, chosen, units_of(groups) if grouped else None)
        bound = self._opened.bound(str(self.path), self._options.verify)
        return ShardedRecords.of(self._opened.shards, chosen, self._opened.far, bound)

    def groups(self) -> IntArray:
        """Return the number of each record's group, one over all shards, int64[N]; -1 is none."""
        return group_numbers(self._opened.groups(), self._records.chosen)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The tokens of record `index`, uint16|uint32, as a view of the file."""
        return self._records.row(record_number(index, self._count, of="store"))

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"TokenStore({str(self.path)!r}, {len(self)} records, {self.encoding!r})"

    def __getstate__(self) -> dict[str, Any]:
        """To another process go the address and the fingerprint; it opens the files when it first reads them."""
        options = self._options._replace(fingerprint=self.manifest.fingerprint)
        return {"path": self.path, "_parts": self._parts, "_count": self._count, "_options": options}

    @property
    def manifest(self) -> Manifest:
        """What the store says of itself: shards, encoding, lengths, rejected records."""
        return self._opened.manifest

    @property
    def encoding(self) -> str:
        """The name of the encoding, for `load_encoding`."""
        return self.manifest.encoding.name

    @property
    def eot_token_id(self) -> int | None:
        """The end-of-text token of the encoding; None where it has none."""
        return self.manifest.encoding.eot_token_id

    @property
    def has_spans(self) -> bool:
        """Whether records say which of their tokens are supervised."""
        return self.manifest.has_spans

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """What the store has beside its tokens, by name; strings are int32 numbers, which `words` turns back."""
        named = {name: column.as_read() for name, column in self.manifest.columns.items()}
        return {"spans": Column("uint32", "span"), **named} if self.has_spans else named

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with any byte of the data, or with the view taken of it."""
        if self._count == self.manifest.records:
            return self.manifest.fingerprint
        view = f"{self.manifest.fingerprint}:{name_of(self._records.chosen, self._parts)}"
        return hashlib.sha256(view.encode()).hexdigest()

    @cached_property
    def lengths(self) -> IntArray:
        """The tokens of each record, int64[N]."""
        return self._records.lengths()

    @cached_property
    def supervised(self) -> NDArray[np.int32]:
        """The targets of each record, int32[N]; in a store without spans all its tokens are."""
        return self._records.whole([shard.arrays["supervised"] for shard in self._opened.shards])

    @cached_property
    def num_tokens(self) -> int:
        """The tokens of all records together."""
        return self.manifest.tokens if self._count == self.manifest.records else int(self.lengths.sum())

    @property
    def token_bytes(self) -> int:
        """The bytes of the tokens of all records together."""
        return self.num_tokens * np.dtype(self.manifest.dtype).itemsize

    def at_epoch(self, seed: int, epoch: int) -> ShardedRecords:  # noqa: ARG002  # of a mixture
        """Return the records of one epoch: in a store all of them, in every epoch."""
        return self._records

    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """Return the distinct lengths, rising, and how many records have each: int64[M] both."""
        return self._histogram

    @cached_property
    def _histogram(self) -> tuple[IntArray, IntArray]:
        if self._count < self.manifest.records:
            return np.unique(self.lengths, return_counts=True)
        lengths, counts = np.array(self.manifest.lengths, np.int64).T
        return lengths, counts

    def take(self, indices: ArrayLike) -> Ragged:
        """Return some of the records side by side, copied.

        Args:
            indices: The numbers of the records wanted, int64[M], in any order and as often as wanted; each is from
                0 to `len(store) - 1`.

        Raises:
            InputError: The indices are no flat integers, or name a record that does not exist.
            StoreCorruptError: A token id is outside the vocabulary.
        """
        rows = self._records.find(row_numbers(indices, len(self))).tokens.joined()
        return Ragged(rows.values, offsets_of(rows.lengths))

    def spans(self, index: int) -> NDArray[np.uint32]:
        """Return the supervised (start, stop) token positions of record `index`, uint32[S, 2]."""
        shard, place = self._locate(index)
        return shard.spans[place].reshape(-1, 2)

    def source_row(self, index: int) -> int:
        """Return the row of the source that record `index` came from."""
        shard, place = self._locate(index)
        return shard.row_base + int(shard.arrays["source_row"][place])

    def column(self, name: str, index: int) -> NDArray[Any]:
        """Return what record `index` has in a column, as a view: one value for each token, span or record.

        Raises:
            InputError: There is no such column.
        """
        if name not in self.columns:
            raise InputError(f"the store has no column {name!r}: it has {', '.join(self.columns) or 'none'}")
        shard, place = self._locate(index)
        rows = shard.spans if name == "spans" else shard.beside(name)
        return rows.values[rows.offsets[place] : rows.offsets[place + 1]]

    def words(self, name: str) -> list[str]:
        """Return the strings that the numbers of a column stand for.

        Raises:
            InputError: There is no such column of strings.
        """
        if name not in (known := [n for n, entry in self.manifest.columns.items() if entry.dtype == STRING]):
            raise InputError(f"the store has no column of strings {name!r}: it has {known}")
        return self._opened.dictionaries.words(name)

    def tokenizer(self, encoding: AnyEncoding | None = None) -> Tokenizer:
        """Return the tokenizer that made the ids.

        Args:
            encoding: What it is loaded from, as `load_encoding` takes it; by default its name.

        Raises:
            EncodingError: It cannot be found by its name, or is another one than made the ids.
        """
        return tokenizer_of(self.manifest.encoding, encoding, str(self.path))

    def text(self, index: int) -> str:
        """Return record `index` decoded; bytes that are not UTF-8 become U+FFFD."""
        return self.tokenizer().decode(self[index])

    def verify(self) -> None:
        """Hash every byte of every file, and compare the hashes with the manifest's.

        Raises:
            StoreCorruptError: A file differs; the first that does is named.
        """
        check_all(self.path, self._options._replace(fingerprint=self.manifest.fingerprint))

    def split(self, shares: Mapping[str, float | None], seed: int | None = None) -> dict[str, TokenStore]:
        """Return views of parts of the store, by name; nothing is copied, and records keep their order.

        Args:
            shares: The share of the records of each part, from 0 to 1. A part has `int(len(store) * share)`
                records; the one part whose share is None has the rest. Documents of one group are never parted,
                which may make a part shorter.
            seed: The seed of the permutation that chooses each part's records, from 0; by default parts are
                consecutive, in the order of `shares`. A sorted source needs a seed.

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
        seed = None if seed is None else check_count("seed", seed, 0)
        sizes = part_sizes(shares, len(self))
        return {name: self._view(Part(sizes, i, seed)) for i, name in enumerate(shares)}

    def _view(self, part: Part) -> TokenStore:
        view = object.__new__(TokenStore)
        view.__dict__.update(self.__getstate__(), _parts=(*self._parts, part), _opened=self._opened)
        view._count = len(view._records.chosen)
        return view

    def _locate(self, index: int) -> tuple[Shard, int]:
        return self._records.locate(record_number(index, self._count, of="store"))
