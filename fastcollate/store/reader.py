from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.errors import (
    InputError,
    StoreChangedError,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
)
from fastcollate.ragged import IntArray, Ragged, RaggedBatch, Rows
from fastcollate.store.layouts import Shard, file_hash, index_hash, map_shard, storage_errors
from fastcollate.store.manifest import MANIFEST, Manifest, is_store_file
from fastcollate.text.encodings import decode, load_encoding

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
        self.manifest = _read_manifest(self.path)
        self._first = 0
        self._count = self.manifest.records
        if verify != "none":
            _check_files(self.path, self.manifest)
        self._shards = [
            map_shard(self.path, number, self.manifest.layout, self.manifest.dtype)
            for number in range(len(self.manifest.shards))
        ]
        if verify != "none":
            self._check_index()
        if verify == "full":
            self.verify()

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
        return _reopen, (self.path, self.manifest.fingerprint, self._first, self._count)

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
        return hashlib.sha256(f"{whole}:{self._first}:{self._count}".encode()).hexdigest()

    @cached_property
    def lengths(self) -> IntArray:
        """int64[N], the tokens of each record."""
        whole = [shard.tokens.lengths for shard in self._shards]
        return np.concatenate(whole)[self._first : self._first + self._count]

    @cached_property
    def num_tokens(self) -> int:
        """Tokens of all records."""
        if self._count == self.manifest.records:
            return self.manifest.tokens
        return int(self.lengths.sum())

    @cached_property
    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """int64[M] each: the distinct lengths, rising, and how many records have each."""
        if self._count == self.manifest.records:
            pairs = np.array(self.manifest.lengths, np.int64)
            return pairs[:, 0], pairs[:, 1]
        return np.unique(self.lengths, return_counts=True)

    def lengths_at(self, indices: IntArray) -> IntArray:
        """int64[M], the tokens of the records `indices: int64[M]`, read from the mapped index."""
        out = np.empty(len(indices), np.int64)
        for shard, positions, rows in self._by_shard(indices):
            offsets = shard.tokens.offsets
            out[positions] = offsets[rows + 1] - offsets[rows]
        return out

    def gather(self, indices: IntArray, *, width: int | None = None) -> RaggedBatch:
        """The records `indices: int64[B]` as a batch, without a copy where they lie in one shard.

        -1 stands for a filler row, which may only follow real ones. Spans are looked up when asked for.
        """
        if len(indices) and indices[-1] < 0:
            return self._gather_filled(indices, width)
        rows = self._rows("tokens", indices)
        spans = partial(self._rows, "spans", indices) if self.has_spans else None
        return RaggedBatch(rows.values, rows.starts, rows.lengths, record_ids=indices, spans=spans, width=width)

    def _gather_filled(self, indices: IntArray, width: int | None) -> RaggedBatch:
        real = indices[indices >= 0]
        missing = np.zeros(len(indices) - len(real), np.int64)
        rows, spans = self._rows("tokens", real), self._rows("spans", real) if self.has_spans else None
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
        chosen = np.asarray(indices, np.int64)
        if len(chosen) and (int(chosen.min()) < 0 or int(chosen.max()) >= len(self)):
            raise InputError(f"take got an index outside the store: records are numbered 0 to {len(self) - 1}")
        return self._rows("tokens", chosen).to_ragged()

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
        return decode(load_encoding(self.encoding), self[index])

    def verify(self) -> None:
        """Hash every byte of every file against the manifest.

        Raises:
            StoreCorruptError: naming the first file that differs.
        """
        _check_files(self.path, self.manifest)
        for entry in self.manifest.shards:
            for file in entry.files:
                if file_hash(self.path / file.name) != file.sha256:
                    raise StoreCorruptError(
                        f"{self.path / file.name} has changed since it was written: its SHA-256 is not the "
                        "manifest's; restore the file or prepare the store again"
                    )

    def split(self, shares: Mapping[str, float | None]) -> dict[str, TokenStore]:
        """Cut the store into consecutive parts, without copying, in the order given.

        Each part has `int(len(store) * share)` records; the one part whose share is None has the rest.

        Raises:
            InputError: shares that are negative, more than one None, or more than the whole.
        """
        rests = sum(share is None for share in shares.values())
        counts = {name: 0 if share is None else int(len(self) * share) for name, share in shares.items()}
        rest = len(self) - sum(counts.values())
        if rests > 1 or rest < 0 or min(counts.values(), default=0) < 0:
            raise InputError(
                f"split shares {dict(shares)!r}: each from 0 to 1, together at most 1, one None at most"
            )
        parts: dict[str, TokenStore] = {}
        first = 0
        for name, share in shares.items():
            count = rest if share is None else counts[name]
            parts[name] = self._view(first, count)
            first += count
        return parts

    def _view(self, first: int, count: int) -> TokenStore:
        view = object.__new__(TokenStore)
        view.path, view.manifest, view._shards = self.path, self.manifest, self._shards
        view._first, view._count = self._first + first, count
        return view

    def _locate(self, index: int) -> tuple[Shard, int]:
        if not -self._count <= index < self._count:
            raise IndexError(f"record {index} of a store with {self._count} records")
        number, row = divmod(self._first + index % self._count, self.manifest.records_per_shard)
        return self._shards[number], row

    def _by_shard(self, indices: IntArray) -> Iterator[tuple[Shard, slice | IntArray, IntArray]]:
        """Group record numbers by shard: (shard, positions in `indices`, rows in the shard)."""
        if len(self._shards) == 1:
            yield self._shards[0], slice(None), indices + self._first if self._first else indices
            return
        numbers, rows = np.divmod(indices + self._first, self.manifest.records_per_shard)
        order = np.argsort(numbers.astype(np.uint16) if len(self._shards) <= 2**16 else numbers, kind="stable")
        cuts = np.flatnonzero(np.diff(numbers[order])) + 1
        for positions in np.split(order, cuts):
            yield self._shards[int(numbers[positions[0]])], positions, rows[positions]

    def _rows(self, column: Literal["tokens", "spans"], indices: IntArray) -> Rows:
        """The rows of a column: where they lie if that is one shard, else copied side by side."""
        groups = list(self._by_shard(indices))
        found = []
        for shard, positions, rows in groups:
            ragged = shard.tokens if column == "tokens" else shard.spans
            starts = ragged.offsets[rows]
            found.append((positions, Rows(ragged.values, starts, ragged.offsets[rows + 1] - starts)))
        if len(found) == 1:
            return found[0][1]
        lengths = np.empty(len(indices), np.int64)
        for positions, part in found:
            lengths[positions] = part.lengths
        begins = np.cumsum(lengths) - lengths
        values = np.empty(int(lengths.sum()), found[0][1].values.dtype)
        for positions, part in found:
            part.copy_into(values, begins[positions])
        return Rows(values, begins, lengths)

    def _check_index(self) -> None:
        for entry, shard in zip(self.manifest.shards, self._shards, strict=True):
            name = self.path / entry.files[0].name
            counts = (
                len(shard.tokens),
                len(shard.tokens.values),
                len(shard.spans.values),
                len(shard.source_rows),
            )
            rows = [int(shard.source_rows[0]), int(shard.source_rows[-1])]
            expected = (entry.records, entry.tokens, entry.span_values, entry.records)
            if counts != expected or rows != entry.source_rows or index_hash(shard) != entry.index_sha256:
                raise StoreCorruptError(
                    f"{name} is not the shard the manifest lists here (swapped or changed): its records begin "
                    "elsewhere; restore the file or prepare the store again"
                )


def _reopen(path: Path, fingerprint: str, first: int, count: int) -> TokenStore:
    store = TokenStore(path, verify="none")
    if store.manifest.fingerprint != fingerprint:
        raise StoreChangedError(
            f"{path} was replaced by another store while it was in use: restart the run that reads it"
        )
    return store._view(first, count)  # noqa: SLF001


def _read_manifest(path: Path) -> Manifest:
    with storage_errors(path):
        if not path.is_dir():
            raise StoreError(f"{path} is not a directory: give the directory that `fastcollate prepare` made")
        if not (path / MANIFEST).is_file():
            if any(is_store_file(entry.name) for entry in path.iterdir()):
                raise StoreIncompleteError(
                    f"{path} has no {MANIFEST}: its writer was stopped before it finished; prepare it again"
                )
            raise StoreError(f"{path} holds no store: give the directory that `fastcollate prepare` made")
        return Manifest.from_bytes((path / MANIFEST).read_bytes(), str(path / MANIFEST))


def _check_files(path: Path, manifest: Manifest) -> None:
    for entry in manifest.shards:
        for file in entry.files:
            target = path / file.name
            if not target.is_file():
                raise StoreCorruptError(f"{target} is missing: restore it or prepare the store again")
            if (size := target.stat().st_size) != file.bytes:
                raise StoreCorruptError(
                    f"{target} has {size} bytes where the manifest has {file.bytes} (truncated or changed): "
                    "restore it or prepare the store again"
                )
