"""Writing a store: whole, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.arguments import check_choice, check_count
from fastcollate.errors import EncodingError, StoreWriteError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.store.directory import StoreDirectory
from fastcollate.store.manifest import Manifest
from fastcollate.store.shards.entries import Layout, ShardEntry
from fastcollate.store.shards.pending import Pending, columns_of, flat, supervised_of
from fastcollate.store.shards.shard_arrays import USUAL, ColumnEntry
from fastcollate.store.shards.shard_files import write_shard
from fastcollate.tokenizers.load import AnyEncoding, load_encoding
from fastcollate.tokenizers.tokenizer import TokenizerInfo

__all__ = ["StoreWriter"]


class StoreWriter:
    """`StoreWriter` writes tokens into a new store; leaving its `with` block normally commits the store.

    An exception inside the block commits nothing, and leaves the disk as it was.

    Args:
        path: The directory to make; it may exist only if it is empty or holds what a stopped writer left.
        encoding: The encoding's name, a `tiktoken.Encoding` or a `Tokenizer`; its vocabulary decides the dtype of
            the ids and the largest id allowed.
        layout: The kind of files: `"arrow"` (default) or `"npy"`.
        records_per_shard: The number of records in each shard but the last, 262,144 by default; a group of
            documents that belong together is never parted, so that shards of these may be shorter or longer.
        template: The name that the manifest gives for the template the texts were made with; none by default.

    Raises:
        InputError: An argument is wrong.
        EncodingError: The encoding is unknown or out of reach.
        StoreWriteError: `path` holds something else, or a record cannot be stored (the message has its number).
        StorageError: The disk failed. Whatever was written is removed; nothing that was there before is touched.

    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72, 105, 256], [79, 107, 256]]))
    >>> from fastcollate.store.reader import TokenStore
    >>> TokenStore(directory)[1]
    array([ 79, 107, 256], dtype=uint16)
    """

    _directory: StoreDirectory

    def __init__(
        self,
        path: str | Path,
        *,
        encoding: AnyEncoding,
        layout: Layout = "arrow",
        records_per_shard: int = 262_144,
        template: str | None = None,
    ) -> None:
        self._layout = check_choice("layout", layout, ("arrow", "npy"))
        self._per_shard = check_count("records_per_shard", records_per_shard, 1)
        self.path = Path(path)
        tokenizer = load_encoding(encoding)
        self.encoding = TokenizerInfo(
            tokenizer.name, tokenizer.sha256, tokenizer.vocab_size, tokenizer.eot_token_id
        )
        end = self.encoding.eot_token_id
        if end is not None and not 0 <= end < self.encoding.n_vocab:
            raise EncodingError(
                f"encoding {self.encoding.name!r} ends a text with token {end}: its ids are 0 to "
                f"{self.encoding.n_vocab - 1}; correct its vocab_size or its eot_token_id"
            )
        self._template = template
        self._dtype = np.dtype(np.uint16 if self.encoding.n_vocab <= 2**16 else np.uint32)
        self._pending = Pending()
        self._appended = 0
        self._has_spans = False
        self._columns: dict[str, ColumnEntry] = {}
        self._lengths: Counter[int] = Counter()
        self._rejected: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()
        self._entries: list[ShardEntry] = []

    def __enter__(self) -> Self:
        self._directory = StoreDirectory(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        manifest = None
        try:
            if kind is None:
                manifest = self._finish().as_bytes
        finally:
            self._pending = Pending()
            self._directory.release(manifest)

    def __len__(self) -> int:
        """Return how many records were appended so far."""
        return self._appended

    def __repr__(self) -> str:
        return f"StoreWriter({str(self.path)!r}, {len(self)} records so far, {self.encoding.name!r})"

    def append(
        self,
        ragged: Ragged,
        spans: Ragged | None = None,
        source_rows: ArrayLike | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Add records.

        Args:
            ragged: The token ids of N records; every id is checked against the vocabulary.
            spans: The supervised parts of each record as flat (start, stop) pairs of tokens; none by default.
            source_rows: `int64[N]`, the row of the source each record came from; by default the rows count on.
            columns: Further columns by name, the same in every call: an array of N numbers or a list of N strings
                is one value for each record, a `Ragged` with a record's lengths is one for each token, and
                `weights` is float32 for each span. Neighbours with one number from 0 in `group` belong together,
                -1 is alone. These two may be left out of a call, which then has weights of 1 and no groups.

        Raises:
            StoreWriteError: A record is empty or holds an id that is none, or something does not fit the records.
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
                "input_ids": values.astype(self._dtype, copy=False),
                "offsets": offsets,
                "spans": pairs,
                "span_offsets": pair_offsets,
                "source_row": rows,
                "supervised": supervised_of(pairs, pair_offsets, lengths, all_of=spans is None),
                **beside,
            }
        )
        while self._pending.records >= self._per_shard:
            self._flush()

    def reject(self, counts: Mapping[str, int], lines: Iterable[Mapping[str, Any]] = ()) -> None:
        """Add to the manifest's counts of records that were left out, by reason.

        Args:
            counts: How many more there are of each reason.
            lines: What `rejected.jsonl` beside the manifest says of each.

        Raises:
            StorageError: The disk failed.
        """
        self._rejected.update(counts)
        self._directory.append_lines(lines)

    def note(self, counts: Mapping[str, int]) -> None:
        """Add to the manifest's counts of records that were kept and are told of, by what is told of them."""
        self._noted.update(counts)

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

    def _flush(self) -> None:
        """Write the first `records_per_shard` buffered records (or all, if fewer) as one shard."""
        arrays = self._pending.take(self._per_shard, self._columns)
        self._entries.append(write_shard(self.path, len(self._entries), self._layout, arrays, self._columns))

    def _finish(self) -> Manifest:
        """Write what is left in the buffer, and return what the whole store is."""
        if self._appended == 0:
            raise StoreWriteError(f"{self.path}: no record was written; a store needs at least one")
        if self._pending.records:
            self._flush()
        used = {name for entry in self._entries for name in entry.places}
        return Manifest(
            encoding=self.encoding,
            template=self._template,
            dtype=str(self._dtype),
            layout=self._layout,
            has_spans=self._has_spans,
            columns={name: entry for name, entry in sorted(self._columns.items()) if name in used},
            shards=self._entries,
            lengths=[[length, self._lengths[length]] for length in sorted(self._lengths)],
            rejected=dict(self._rejected),
            noted=dict(self._noted),
        )
