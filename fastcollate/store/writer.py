"""Writing a store: whole, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.arguments import check_choice, check_count
from fastcollate.errors import EncodingError, StoreWriteError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.store.directory import StoreDirectory
from fastcollate.store.manifest import Layout, Manifest, ShardEntry
from fastcollate.store.shard_files import Arrays, write_shard
from fastcollate.tokenizers.load import AnyEncoding, load_encoding
from fastcollate.tokenizers.tokenizer import END_OF_TEXT, Tokenizer, TokenizerInfo

__all__ = ["StoreWriter"]


class StoreWriter:
    """`StoreWriter` writes tokens into a new store; leaving its `with` block normally commits the store.

    An exception inside the block commits nothing, and leaves the disk as it was.

    Args:
        path: The directory to make; it may exist only if it is empty or holds what a stopped writer left.
        encoding: The encoding's name, a `tiktoken.Encoding` or a `Tokenizer`; its vocabulary decides the dtype of
            the ids and the largest id allowed.
        layout: The kind of files: `"arrow"` (default) or `"npy"`.
        records_per_shard: The number of records in each shard but the last, 262,144 by default.
        template: The name that the manifest gives for the template the texts were made with; none by default.

    Raises:
        InputError: An argument is wrong.
        EncodingError: The encoding is unknown, out of reach or without an end-of-text token.
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
        self.encoding = _remembered(load_encoding(encoding))
        self._template = template
        self._dtype = np.dtype(np.uint16 if self.encoding.n_vocab <= 2**16 else np.uint32)
        self._buffer: list[Arrays] = []
        self._buffered = 0
        self._appended = 0
        self._has_spans = False
        self._lengths: Counter[int] = Counter()
        self._rejected: Counter[str] = Counter()
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
            self._buffer.clear()
            self._directory.release(manifest)

    def __len__(self) -> int:
        """Return how many records were appended so far."""
        return self._appended

    def __repr__(self) -> str:
        return f"StoreWriter({str(self.path)!r}, {len(self)} records so far, {self.encoding.name!r})"

    def append(self, ragged: Ragged, spans: Ragged | None = None, source_rows: ArrayLike | None = None) -> None:
        """Add records.

        Args:
            ragged: The token ids of N records; every id is checked against the vocabulary.
            spans: The supervised parts of each record as flat (start, stop) pairs of tokens; none by default.
            source_rows: `int64[N]`, the row of the source each record came from; by default the rows count on.

        Raises:
            StoreWriteError: A record is empty or holds an id that is none, or spans or rows do not fit.
        """
        values, offsets = _flat(ragged)
        lengths = np.diff(offsets)
        if len(lengths) == 0:
            return
        self._check_tokens(values, offsets, lengths)
        rows = self._rows(source_rows, len(lengths))
        pairs, pair_offsets = self._spans(spans, lengths)
        self._has_spans |= spans is not None
        distinct, counts = np.unique(lengths, return_counts=True)
        self._lengths.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
        self._appended += len(lengths)
        self._buffered += len(lengths)
        self._buffer.append(
            {
                "input_ids": values.astype(self._dtype, copy=False),
                "offsets": offsets,
                "spans": pairs,
                "span_offsets": pair_offsets,
                "source_row": rows,
            }
        )
        while self._buffered >= self._per_shard:
            self._flush()

    def reject(self, counts: Mapping[str, int]) -> None:
        """Add to the manifest's counts of records that were left out, by reason."""
        self._rejected.update(counts)

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
        values, offsets = _flat(spans)
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
        whole = self._buffer[0] if len(self._buffer) == 1 else _joined(self._buffer)
        cut = min(self._per_shard, self._buffered)
        self._entries.append(write_shard(self.path, len(self._entries), self._layout, _records_of(whole, 0, cut)))
        self._buffer = [_records_of(whole, cut, self._buffered)] if cut < self._buffered else []
        self._buffered -= cut

    def _finish(self) -> Manifest:
        """Write what is left in the buffer, and return what the whole store is."""
        if self._appended == 0:
            raise StoreWriteError(f"{self.path}: no record was written; a store needs at least one")
        if self._buffered:
            self._flush()
        return Manifest(
            encoding=self.encoding,
            template=self._template,
            dtype=str(self._dtype),
            layout=self._layout,
            records_per_shard=self._per_shard,
            has_spans=self._has_spans,
            shards=self._entries,
            lengths=[[length, self._lengths[length]] for length in sorted(self._lengths)],
            rejected=dict(self._rejected),
        )


# The flat arrays of a shard, and those that say where each record begins in them.
_RAGGED = {"input_ids": "offsets", "spans": "span_offsets"}


def _remembered(tokenizer: Tokenizer) -> TokenizerInfo:
    """Return what the manifest says of the encoding."""
    if tokenizer.eot_token_id is None:
        raise EncodingError(
            f'encoding "{tokenizer.name}" has no {END_OF_TEXT}: records end with it; add it to special_tokens'
        )
    return TokenizerInfo(tokenizer.name, tokenizer.sha256, tokenizer.vocab_size, tokenizer.eot_token_id)


def _flat(ragged: Ragged) -> tuple[NDArray[Any], IntArray]:
    """Return the values of all rows side by side, and offsets that begin at 0."""
    first, last = ragged.offsets[0], ragged.offsets[-1]
    return ragged.values[first:last], ragged.offsets - first


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Return the records of all parts, copied."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in (*_RAGGED, "source_row")}
    for offsets in _RAGGED.values():
        lengths = np.concatenate([np.diff(part[offsets]) for part in parts])
        whole[offsets] = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return whole


def _records_of(arrays: Arrays, start: int, stop: int) -> Arrays:
    """Return records `start` to `stop`, the values as views."""
    part = {"source_row": arrays["source_row"][start:stop]}
    for values, offsets in _RAGGED.items():
        edges = arrays[offsets][start : stop + 1]
        part[values], part[offsets] = arrays[values][edges[0] : edges[-1]], edges - edges[0]
    return part
