from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import tiktoken
from numpy.typing import ArrayLike

from fastcollate.errors import InputError, StoreWriteError
from fastcollate.ragged import Ragged
from fastcollate.storage.local import replacing
from fastcollate.store.directory import StoreDirectory
from fastcollate.store.manifest import MANIFEST, Layout, Manifest, ShardEntry
from fastcollate.store.shard_files import Shard, write_shard
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
        check_count("records_per_shard", records_per_shard)
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
        self._directory = StoreDirectory(self.path)

    def __enter__(self) -> Self:
        self._directory.claim()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        committed = False
        try:
            if kind is None:
                self._commit()
                committed = True
        finally:
            self._buffer.clear()
            self._directory.release(keep=committed)

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
            if rows.size and int(rows.min()) < 0:
                raise StoreWriteError(f"source_rows holds {rows.min()}: rows of a source are numbered from 0")
        if rows.shape != (len(ragged),):
            raise StoreWriteError(
                f"source_rows has shape {rows.shape}: it needs one row for each of {len(ragged)}"
            )
        pairs = self._check_spans(ragged, spans)
        self._has_spans |= spans is not None
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
        whole = self._buffer[0] if len(self._buffer) == 1 else concat_shards(self._buffer)
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
            file.write(manifest.as_bytes)
        self._directory.sync()


def check_count(name: str, value: int) -> None:
    """An integer from 1, or an `InputError` that names the argument."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}: it must be an integer, at least 1")


def concat_shards(parts: list[Shard]) -> Shard:
    """All records of all parts, copied."""
    return Shard(
        Ragged.concat([part.tokens for part in parts]),
        Ragged.concat([part.spans for part in parts]),
        np.concatenate([part.source_rows for part in parts]),
    )


def slice_shard(shard: Shard, start: int, stop: int) -> Shard:
    """Records `start` to `stop` of a shard, the values as views."""
    tokens, spans = (Ragged(r.values, r.offsets[start : stop + 1]).compact() for r in (shard.tokens, shard.spans))
    return Shard(tokens, spans, shard.source_rows[start:stop])
