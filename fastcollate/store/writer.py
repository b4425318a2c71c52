from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import tiktoken
from numpy.typing import ArrayLike

from fastcollate.errors import InputError, StoreWriteError
from fastcollate.ragged import Ragged
from fastcollate.store.layouts import Shard, replacing, storage_errors, write_shard
from fastcollate.store.manifest import MANIFEST, Layout, Manifest, ShardEntry, is_store_file
from fastcollate.text.encodings import describe, load_encoding


class StoreWriter:
    """Write tokens into a new store; leaving the `with` block normally commits it, by an exception does not.

    Args:
        path: the directory to make; it may exist only if it is empty or holds what a stopped writer left.
        encoding: a name for `load_encoding`, or a `tiktoken.Encoding`: it decides the dtype and the largest id.
        layout: `"arrow"` or `"npy"`.
        records_per_shard: how many records one shard holds.

    Raises:
        StoreWriteError: `path` holds something else, or a record that cannot be stored (its number is named).
        StorageError: the disk failed. Whatever was written is removed; nothing that was there before is touched.

    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72, 105, 256], [79, 107, 256]]))
    >>> from fastcollate.store.reader import TokenStore
    >>> TokenStore(directory)[1]
    array([ 79, 107, 256], dtype=uint16)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoding: str | tiktoken.Encoding,
        layout: Layout = "arrow",
        records_per_shard: int = 262_144,
    ) -> None:
        if layout not in ("arrow", "npy"):
            raise InputError(f"layout is {layout!r}: it must be 'arrow' or 'npy'")
        if records_per_shard < 1:
            raise InputError(f"records_per_shard is {records_per_shard}: it must be at least 1")
        self.path = Path(path)
        self.template: str | None = None
        self.rejected: Counter[str] = Counter()
        self.encoding = describe(load_encoding(encoding))
        self._dtype = np.dtype(np.uint16 if self.encoding.n_vocab <= 2**16 else np.uint32)
        self._layout: Layout = layout
        self._per_shard = records_per_shard
        self._buffer: list[Shard] = []
        self._buffered = 0
        self._appended = 0
        self._has_spans = False
        self._lengths: Counter[int] = Counter()
        self._entries: list[ShardEntry] = []
        self._made_directory = False

    def __enter__(self) -> Self:
        self._made_directory = claim(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._commit()
            except BaseException:
                self._abandon()
                raise
        else:
            self._abandon()

    def __len__(self) -> int:
        """Records appended so far."""
        return self._appended

    def append(self, ragged: Ragged, spans: Ragged | None = None, source_rows: ArrayLike | None = None) -> None:
        """Add records.

        Args:
            ragged: the token ids; every id is checked against the vocabulary.
            spans: for each record its supervised parts as flat (start, stop) pairs; none by default.
            source_rows: int64[N], where each record came from; by default it counts on.
        """
        if len(ragged) == 0:
            return
        ragged = ragged.compact()
        self._check_tokens(ragged)
        if source_rows is None:
            rows = np.arange(self._appended, self._appended + len(ragged))
        else:
            rows = np.asarray(source_rows, np.int64)
        if rows.shape != (len(ragged),):
            raise StoreWriteError(
                f"source_rows has shape {rows.shape}: it needs one row for each of {len(ragged)}"
            )
        self._has_spans |= spans is not None
        pairs = self._check_spans(ragged, spans)
        tokens = Ragged(ragged.values.astype(self._dtype, copy=False), ragged.offsets)
        lengths, counts = np.unique(ragged.lengths, return_counts=True)
        self._lengths.update(dict(zip(lengths.tolist(), counts.tolist(), strict=True)))
        self._appended += len(ragged)
        self._buffered += len(ragged)
        self._buffer.append(Shard(tokens, pairs, rows))
        while self._buffered >= self._per_shard:
            self._flush()

    def _check_tokens(self, ragged: Ragged) -> None:
        if int(ragged.lengths.min()) == 0:
            record = self._appended + int(ragged.lengths.argmin())
            raise StoreWriteError(f"record {record} is empty: a record needs at least one token; leave it out")
        values, limit = ragged.values, self.encoding.n_vocab
        if int(values.max()) >= limit or int(values.min()) < 0:
            at = int(np.flatnonzero((values >= limit) | (values < 0))[0])
            record = self._appended + int(np.searchsorted(ragged.offsets, at, side="right")) - 1
            raise StoreWriteError(
                f"record {record} holds token id {values[at]}: encoding {self.encoding.name!r} has ids 0 to "
                f"{limit - 1}; write it with the encoding it was made with"
            )

    def _check_spans(self, ragged: Ragged, spans: Ragged | None) -> Ragged:
        if spans is None:
            return Ragged(np.empty(0, np.uint32), np.zeros(len(ragged) + 1, np.int64))
        spans = spans.compact()
        if len(spans) != len(ragged) or bool((spans.lengths % 2).any()):
            raise StoreWriteError("spans must hold flat (start, stop) pairs, one row for each record")
        stops = np.repeat(ragged.lengths, spans.lengths)
        inside = (spans.values >= 0) & (spans.values <= stops)
        order = np.diff(spans.values.astype(np.int64)) >= 0
        order[spans.offsets[1:-1][(spans.offsets[1:-1] > 0) & (spans.offsets[1:-1] < len(stops))] - 1] = True
        if not (inside.all() and order.all()):
            raise StoreWriteError(
                f"records from {self._appended} on have spans that fall or leave their record: each must be "
                "0 <= start <= stop <= the record's length, in rising order"
            )
        return Ragged(spans.values.astype(np.uint32, copy=False), spans.offsets)

    def _flush(self) -> None:
        """Write the first `records_per_shard` buffered records (or all, if fewer) as one shard."""
        whole = Shard(
            Ragged.concat([part.tokens for part in self._buffer]),
            Ragged.concat([part.spans for part in self._buffer]),
            np.concatenate([part.source_rows for part in self._buffer]),
        )
        cut = min(self._per_shard, len(whole.tokens))
        shard = slice_shard(whole, 0, cut)
        self._entries.append(write_shard(self.path, len(self._entries), self._layout, shard))
        self._buffer = [slice_shard(whole, cut, len(whole.tokens))] if cut < len(whole.tokens) else []
        self._buffered -= cut

    def _commit(self) -> None:
        if self._appended == 0:
            raise StoreWriteError(f"{self.path}: no record was written; a store needs at least one")
        if self._buffered:
            self._flush()
        manifest = Manifest(
            encoding=self.encoding,
            template=self.template,
            dtype=str(self._dtype),
            layout=self._layout,
            records_per_shard=self._per_shard,
            has_spans=self._has_spans,
            shards=self._entries,
            lengths=[[length, self._lengths[length]] for length in sorted(self._lengths)],
            rejected=dict(self.rejected),
        )
        with replacing(self.path / MANIFEST) as file:
            file.write(manifest.to_bytes())
        sync_directory(self.path)

    def _abandon(self) -> None:
        """Remove what this writer wrote; the first error is the one to report, so this one stays silent."""
        self._buffer.clear()
        if self._made_directory:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for leftover in self.path.iterdir():
            if is_store_file(leftover.name):
                leftover.unlink(missing_ok=True)


def slice_shard(shard: Shard, start: int, stop: int) -> Shard:
    """Records `start` to `stop` of a shard, the values as views."""
    tokens, spans = (Ragged(r.values, r.offsets[start : stop + 1]).compact() for r in (shard.tokens, shard.spans))
    return Shard(tokens, spans, shard.source_rows[start:stop])


def claim(path: Path) -> bool:
    """Make `path` an empty directory, or say why it cannot be one; True if it was made here."""
    with storage_errors(path):
        if not path.exists():
            path.mkdir(parents=True)
            return True
        if not path.is_dir():
            raise StoreWriteError(f"{path} is a file: a store is a directory; choose another path")
        if (path / MANIFEST).exists():
            raise StoreWriteError(f"{path} already holds a store: remove it or choose another directory")
        found = sorted(entry.name for entry in path.iterdir())
        if strange := [name for name in found if not is_store_file(name)]:
            raise StoreWriteError(
                f"{path} already holds {strange[0]!r}: a store needs a directory of its own; choose another"
            )
        for name in found:  # what a writer that was killed left behind
            (path / name).unlink()
    return False


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` durable, where the system can (not on Windows)."""
    import os  # noqa: PLC0415

    if hasattr(os, "O_DIRECTORY"):
        with storage_errors(path):
            handle = os.open(path, os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
