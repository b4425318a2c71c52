"""Foreign token files as a corpus."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.arguments import check_count
from fastcollate.corpus.mapped.copied_rows import CopiedRows
from fastcollate.corpus.mapped.mapped_files import opened_file
from fastcollate.corpus.mapped.mapped_records import MappedRecords
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, check_piece
from fastcollate.errors import InputError, StoreChangedError, StoreError
from fastcollate.ragged import Column, IntArray, Ragged, record_number, row_numbers
from fastcollate.store.splitting import Part, part_sizes, records_of_part
from fastcollate.tokenizers.load import AnyEncoding, load_encoding

__all__ = ["MappedCorpus"]

_SAMPLES, _SAMPLE_BYTES = 16, 4096  # of the tokens of a piece, which are too many to hash


class MappedCorpus:
    """A `MappedCorpus` reads other people's token files where they lie; `open_corpus` makes one.

    `len` is the number of records, and `corpus[i]` are the tokens of record `i` as a read-only view of the file;
    negative numbers count from the end. It goes into any dataset, and its views by `split` do too. Rows without a
    token are no records, and counted in `rejected`.

    Args:
        path: What the user gave.
        read: The function that tells where the rows lie; another process calls it anew.
        fingerprint: The fingerprint that the files must have; by default any will do.

    Raises:
        StoreError: The files are not what was written, or have no tokens.
        StoreChangedError: The files have another fingerprint.

    >>> import tempfile
    >>> from fastcollate import open_corpus
    >>> path = tempfile.mkdtemp() + "/train.bin"
    >>> np.array([5, 6, 0, 7, 0], np.uint16).tofile(path)
    >>> corpus = open_corpus(path, dtype="uint16", eot_token_id=0)
    >>> len(corpus), corpus.num_tokens, corpus.lengths, corpus[0]
    (2, 5, array([3, 2]), array([5, 6, 0], dtype=uint16))
    """

    def __init__(self, path: Path, read: Callable[[], Layout], *, fingerprint: str | None = None) -> None:
        self.path = path
        self._read, self._wanted = read, fingerprint
        self._parts: tuple[Part, ...] = ()
        self._count = len(self._records.chosen)

    @cached_property
    def layout(self) -> Layout:
        """What the format says of the files."""
        return self._read()

    @cached_property
    def _whole(self) -> MappedRecords:
        files = [opened_file(file) for file in self.layout.files]  # before their index is looked at
        for piece in self.layout.pieces:
            check_piece(piece)
        if len({piece.labels is None for piece in self.layout.pieces}) > 1:
            raise StoreError(
                f"{self.path} has labels in some of its files and not in others: give all files labels"
            )
        whole = MappedRecords.of(self.layout)._replace(hashed=self.layout.hashed, files=files)
        if not len(whole.chosen):
            raise StoreError(f"{self.path} has no tokens: there is nothing to train on")
        if self._wanted is not None and self._fingerprint != self._wanted:
            raise StoreChangedError(
                f"{self.path} was replaced by other files while it was in use (its fingerprint is "
                f"{self._fingerprint[:12]}..., not {self._wanted[:12]}...): restart the run that reads it, or "
                "restore those files"
            )
        return whole

    @cached_property
    def _records(self) -> MappedRecords:
        chosen = self._whole.chosen
        for part in self._parts:
            chosen = records_of_part(part, chosen, None)
        return self._whole._replace(chosen=chosen)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The tokens of record `index`, as a view of the file."""
        piece, row = self._locate(index)
        return _row(piece.tokens, row)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"MappedCorpus({str(self.path)!r}, {self.layout.format}, {len(self)} records)"

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes where the files are; it opens them when it first reads them."""
        state = {"path": self.path, "_read": self._read, "_parts": self._parts, "_count": self._count}
        return {**state, "_wanted": self._fingerprint}

    @property
    def eot_token_id(self) -> int | None:
        """The end-of-text token, as the caller or the files name it; else None."""
        return self.layout.eot_token_id

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many rows of the files are no records, by reason: a row without tokens is `"empty"`."""
        return self._whole.rejected

    @cached_property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(os.stat(file).st_size for file in self.layout.files)  # noqa: PTH116  # a Path is slow

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """`labels`, where the files have one for each token."""
        labels = [piece.labels for piece in self.layout.pieces if piece.labels is not None]
        return {"labels": Column("int64", "token")} if labels else {}

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with the place of any record, the size of any file, or the view taken.

        Of the tokens only some are hashed, spread over each file.
        """
        whole = self._fingerprint
        if not self._parts:
            return whole
        return hashlib.sha256(f"{whole}:{[tuple(part) for part in self._parts]}".encode()).hexdigest()

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.layout.format.encode())
        for piece in self.layout.pieces:
            for rows in (piece.tokens, piece.labels):
                if rows is not None:
                    _hash_rows(digest, rows)
        if self.layout.order is not None:
            digest.update(np.ascontiguousarray(self.layout.order).data)
        return digest.hexdigest()

    @cached_property
    def lengths(self) -> IntArray:
        """The tokens of each record, int64[N]."""
        pieces, chosen = self._whole.pieces, self._records.chosen
        joined = np.concatenate([piece.tokens.lengths for piece in pieces]).astype(np.int64, copy=False)
        return joined[chosen.start : chosen.stop] if isinstance(chosen, range) else joined[chosen]

    @cached_property
    def num_tokens(self) -> int:
        """The tokens of all records together."""
        lengths, counts = self._histogram
        return int(lengths @ counts)

    def length_histogram(self) -> tuple[IntArray, IntArray]:
        """Return the distinct lengths, rising, and how many records have each: int64[M] both."""
        return self._histogram

    @cached_property
    def _histogram(self) -> tuple[IntArray, IntArray]:
        return np.unique(self.lengths, return_counts=True)

    def at_epoch(self, seed: int, epoch: int) -> MappedRecords:  # noqa: ARG002  # a mixture's depend on them
        """Return the records of one epoch: all of them, in every epoch."""
        return self._records

    def take(self, indices: ArrayLike) -> Ragged:
        """Return some of the records side by side, copied.

        Args:
            indices: The numbers of the records wanted, int64[M], in any order and as often as wanted; each is from
                0 to `len(corpus) - 1`.

        Raises:
            InputError: The indices are no flat integers, or name a record that does not exist.
        """
        return self._records.gather(row_numbers(indices, len(self))).tokens.to_ragged()

    def labels(self, index: int) -> NDArray[Any]:
        """Return the labels of record `index`, one for each token, as a view of the file.

        Raises:
            InputError: The files have no labels.
        """
        piece, row = self._locate(index)
        if piece.labels is None:
            raise InputError(f"{self.path} has no labels: its tokens alone are read")
        return _row(piece.labels, row)

    def text(self, index: int, encoding: AnyEncoding) -> str:
        """Return record `index` decoded; bytes that are not UTF-8 become U+FFFD.

        Args:
            index: The number of the record.
            encoding: What made the ids, as `load_encoding` takes it: the files do not say it.
        """
        return load_encoding(encoding).decode(self[index])

    def split(self, shares: Mapping[str, float | None], seed: int | None = None) -> dict[str, MappedCorpus]:
        """Return views of parts of the corpus, by name; nothing is copied, and records keep their order.

        Args:
            shares: The share of the records of each part, from 0 to 1; see `TokenStore.split`.
            seed: The seed of the permutation that chooses each part's records, from 0; by default parts are
                consecutive, in the order of `shares`.

        Raises:
            InputError: A share is below 0 or above 1, the shares are more than the whole, or two are None.
        """
        seed = None if seed is None else check_count("seed", seed, 0)
        sizes = part_sizes(shares, len(self))
        return {name: self._view(Part(sizes, i, seed)) for i, name in enumerate(shares)}

    def _view(self, part: Part) -> MappedCorpus:
        view = object.__new__(MappedCorpus)
        parts = (*self._parts, part)
        view.__dict__.update(self.__getstate__(), _parts=parts, layout=self.layout, _whole=self._whole)
        view._count = len(view._records.chosen)
        return view

    def _locate(self, index: int) -> tuple[Any, int]:
        return self._records.locate(record_number(index, self._count, of="corpus"))


def _row(rows: MappedRows | CopiedRows, row: int) -> NDArray[Any]:
    return rows.at(np.array([row]))[0]


def _hash_rows(digest: Any, rows: MappedRows | CopiedRows) -> None:
    values = rows.values
    digest.update(f"{rows.dtype}:{values.nbytes}:{len(rows.starts)};".encode())
    digest.update(np.ascontiguousarray(rows.starts).data)
    digest.update(np.ascontiguousarray(rows.lengths).data)
    width = _SAMPLE_BYTES // values.itemsize
    if len(values) <= _SAMPLES * width:
        digest.update(np.ascontiguousarray(values).data)
        return
    for number in range(_SAMPLES):
        begin = (len(values) - width) * number // (_SAMPLES - 1)
        digest.update(np.ascontiguousarray(values[begin : begin + width]).data)
