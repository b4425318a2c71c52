"""Writing a store: whole, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from fastcollate.arguments import check_choice, check_count
from fastcollate.errors import StoreWriteError
from fastcollate.ragged import Ragged
from fastcollate.storage.local import make_durable
from fastcollate.store.directory import StoreDirectory
from fastcollate.store.manifest import Manifest
from fastcollate.store.shards.entries import Layout
from fastcollate.store.shards_writer import ShardsWriter, dtype_of, info_of
from fastcollate.tokenizers.load import AnyEncoding, load_encoding

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
        check_choice("layout", layout, ("arrow", "npy"))
        per_shard = check_count("records_per_shard", records_per_shard, 1)
        self.path = Path(path)
        self.encoding = info_of(load_encoding(encoding))
        self._writer = ShardsWriter(self.path, self.encoding, layout, per_shard)
        self._template = template
        self._rejected: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()

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
            self._writer.drop()
            self._directory.release(manifest)

    def __len__(self) -> int:
        """Return how many records were appended so far."""
        return len(self._writer)

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
        self._writer.append(ragged, spans, source_rows, columns)

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

    def _finish(self) -> Manifest:
        """Write what is left in the buffer, and return what the whole store is."""
        if not len(self):
            raise StoreWriteError(f"{self.path}: no record was written; a store needs at least one")
        written = self._writer.finish()
        for file in written.files:
            make_durable(self.path / file.name)
        return Manifest(
            encoding=self.encoding,
            template=self._template,
            dtype=str(dtype_of(self.encoding)),
            layout=self._writer.layout,
            has_spans=written.has_spans,
            columns=written.columns,
            shards=written.shards,
            lengths=written.lengths,
            rejected=dict(self._rejected),
            noted=dict(self._noted),
        )
