"""Records on their way into shards: checked, gathered, and written some at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.errors import EncodingError, StoreWriteError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.store.shards.entries import FileEntry, Layout, ShardEntry
from fastcollate.store.shards.pending import Pending, columns_of, flat, supervised_of
from fastcollate.store.shards.shard_arrays import USUAL, ColumnEntry
from fastcollate.store.shards.shard_files import write_shard
from fastcollate.tokenizers.tokenizer import Tokenizer, TokenizerInfo

__all__ = ["ShardsWriter", "Written", "dtype_of", "info_of"]


@dataclass(frozen=True)
class Written:
    """What was written of a store: its shards, and what a manifest sums up over them.

    `lengths` is the histogram as sorted [length, count] pairs.
    """

    has_spans: bool
    columns: dict[str, ColumnEntry]
    shards: list[ShardEntry]
    lengths: list[list[int]]

    @property
    def files(self) -> list[FileEntry]:
        """The files of all shards."""
        return [file for shard in self.shards for file in shard.files]


def dtype_of(encoding: TokenizerInfo) -> np.dtype[Any]:
    """Return the smaller of the two dtypes of token ids if it holds the vocabulary."""
    return np.dtype(np.uint16 if encoding.n_vocab <= 2**16 else np.uint32)


def info_of(tokenizer: Tokenizer) -> TokenizerInfo:
    """Return what a store remembers of a tokenizer.

    Raises:
        EncodingError: Its end-of-text token is none of its vocabulary.
    """
    info = TokenizerInfo(tokenizer.name, tokenizer.sha256, tokenizer.vocab_size, tokenizer.eot_token_id)
    if info.eot_token_id is not None and not 0 <= info.eot_token_id < info.n_vocab:
        raise EncodingError(
            f"encoding {info.name!r} ends a text with token {info.eot_token_id}: its ids are 0 to "
            f"{info.n_vocab - 1}; correct its vocab_size or its eot_token_id"
        )
    return info


@dataclass
class ShardsWriter:
    """Writes appended records into shards of a directory, which it neither makes nor tidies.

    Args:
        directory: The directory.
        encoding: What made the ids: its vocabulary decides the dtype of the ids and the largest id allowed.
        layout: The kind of files.
        records_per_shard: The number of records in each shard but the last; no group is parted.
        stem: What the names of files begin with.
    """

    directory: Path
    encoding: TokenizerInfo
    layout: Layout
    records_per_shard: int
    stem: str = "shard"
    _pending: Pending = field(default_factory=Pending)
    _appended: int = 0
    _has_spans: bool = False
    _columns: dict[str, ColumnEntry] = field(default_factory=dict)
    _lengths: Counter[int] = field(default_factory=Counter)
    _entries: list[ShardEntry] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many records were appended so far."""
        return self._appended

    @property
    def shards(self) -> list[ShardEntry]:
        """The shards that are written so far."""
        return self._entries

    def append(
        self,
        ragged: Ragged,
        spans: Ragged | None = None,
        source_rows: ArrayLike | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Add records, as `StoreWriter.append` does.

        Raises:
            StoreWriteError: A record is empty or holds an id that is none, or something does not fit the records.
            StorageError: The disk failed.
        """
        values, offsets = flat(ragged)
        lengths = np.diff(offsets)
        if len(lengths) == 0:
            return
        self._check_tokens(values, offsets, lengths)
        rows = self._rows(source_rows, len(lengths))
        pairs, pair_offsets = self._spans(spans, lengths)
        beside, entries = columns_of(columns or {}, lengths, len(pairs) // 2)
        self._check_alike(spans is not None, entries)
        distinct, counts = np.unique(lengths, return_counts=True)
        self._lengths.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
        self._appended += len(lengths)
        self._pending.append(
            {
                "input_ids": values.astype(dtype_of(self.encoding), copy=False),
                "offsets": offsets,
                "spans": pairs,
                "span_offsets": pair_offsets,
                "source_row": rows,
                "supervised": supervised_of(pairs, pair_offsets, lengths, all_of=spans is None),
                **beside,
            }
        )
        while self._pending.records >= self.records_per_shard:
            self._flush()

    def finish(self) -> Written:
        """Write what is left, and return what was written."""
        if self._pending.records:
            self._flush()
        used = {name for entry in self._entries for name in entry.places}
        return Written(
            has_spans=self._has_spans,
            columns={name: entry for name, entry in sorted(self._columns.items()) if name in used},
            shards=self._entries,
            lengths=[[length, self._lengths[length]] for length in sorted(self._lengths)],
        )

    def drop(self) -> None:
        """Forget what was not written yet."""
        self._pending = Pending()

    def _flush(self) -> None:
        """Write the first `records_per_shard` buffered records (or all, if fewer) as one shard."""
        arrays = self._pending.take(self.records_per_shard, self._columns)
        number = len(self._entries)
        entry = write_shard(self.directory, number, self.layout, arrays, self._columns, stem=self.stem)
        self._entries.append(entry)

    def _check_alike(self, has_spans: bool, columns: dict[str, ColumnEntry]) -> None:
        """Every call gives what the first one gave."""
        if not self._entries and not self._pending.records:
            self._has_spans, self._columns = has_spans, columns
            return
        if has_spans != self._has_spans:
            raise StoreWriteError("spans were given in one call and left out in another: give them in every call")
        if odd := sorted({name for name, _ in columns.items() ^ self._columns.items()} - USUAL.keys()):
            raise StoreWriteError(
                f"column {odd[0]!r} is not what it was when the store was begun: give every column in every call, "
                "each of one dtype"
            )
        self._columns |= columns

    def _check_tokens(self, values: NDArray[Any], offsets: IntArray, lengths: IntArray) -> None:
        if int(lengths.min()) == 0:
            record = self._appended + int(lengths.argmin())
            raise StoreWriteError(f"record {record} is empty: a record needs at least one token; leave it out")
        limit = self.encoding.n_vocab
        if int(values.max()) >= limit or int(values.min()) < 0:
            at = int(np.flatnonzero((values >= limit) | (values < 0))[0])
            record = self._appended + int(np.searchsorted(offsets, at, side="right")) - 1
            raise StoreWriteError(
                f"record {record} holds token id {values[at]}: encoding {self.encoding.name!r} has ids 0 to "
                f"{limit - 1}; write it with the encoding it was made with"
            )

    def _rows(self, source_rows: ArrayLike | None, records: int) -> IntArray:
        if source_rows is None:
            return np.arange(self._appended, self._appended + records)
        rows = np.asarray(source_rows, np.int64)
        if rows.size and int(rows.min()) < 0:
            raise StoreWriteError(f"source_rows holds {rows.min()}: rows of a source are numbered from 0")
        if rows.shape != (records,):
            raise StoreWriteError(f"source_rows has shape {rows.shape}: it needs one row for each of {records}")
        return rows

    def _spans(self, spans: Ragged | None, lengths: IntArray) -> tuple[NDArray[np.uint32], IntArray]:
        if spans is None:
            return np.empty(0, np.uint32), np.zeros(len(lengths) + 1, np.int64)
        values, offsets = flat(spans)
        counts = np.diff(offsets)
        if len(counts) != len(lengths) or bool((counts % 2).any()):
            raise StoreWriteError("spans must hold flat (start, stop) pairs, one row for each record")
        stops = np.repeat(lengths, counts)
        inside = (values >= 0) & (values <= stops)
        order = np.diff(values.astype(np.int64)) >= 0
        order[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < len(stops))] - 1] = True
        if not (inside.all() and order.all()):
            raise StoreWriteError(
                f"records from {self._appended} on have spans that fall or leave their record: each must be "
                "0 <= start <= stop <= the record's length, in rising order"
            )
        return values.astype(np.uint32, copy=False), offsets
