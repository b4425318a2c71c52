"""Rows that hold several documents: their `position_ids` begin again at 0, or `seq_lengths` tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Packs, RaggedBatch, Rows

__all__ = ["split_documents"]


class _Documents(NamedTuple):
    """The documents of rows side by side; letter: D, their number.

    Attributes:
        lengths: The tokens of each document, int64[D].
        counts: The documents of each row, int64[B].
    """

    lengths: IntArray
    counts: IntArray

    def of_row(self, i: int) -> list[int]:
        """Return the lengths of the documents of row `i`."""
        begin = int(self.counts[:i].sum())
        lengths: list[int] = self.lengths[begin : begin + int(self.counts[i])].tolist()
        return lengths


def split_documents(batch: RaggedBatch, columns: Mapping[str, Rows], *, allowed: bool) -> RaggedBatch:
    """Return the batch with each document as a row of its own, in packs that are the rows given.

    The row [1 2 3 4 5] with position ids [0 1 2 0 1], or sequence lengths [3 2], becomes the documents [1 2 3]
    and [4 5] of one pack. Where no row holds more than one, the batch is returned as it is.

    Args:
        batch: The rows; of its columns, `labels` are cut with the tokens.
        columns: The rows' `position_ids` and `seq_lengths`, where there are any.
        allowed: Whether a row may hold several documents.

    Raises:
        CollateError: Positions that are none, lengths that are not the row's, or both that differ; several
            documents where they are not allowed.
    """
    names = [name for name in ("position_ids", "seq_lengths") if name in columns]
    if not names:
        return batch
    if batch.packs is not None:
        raise CollateError(f"the batch is packs with {names[0]}: packs say where documents lie; leave them out")
    read = {"position_ids": _by_positions, "seq_lengths": _by_lengths}
    found = [read[name](columns[name], batch.tokens.lengths) for name in names]
    documents = found[0]
    if len(found) > 1:
        _check_agreement(*found)
    several = documents.counts > 1
    if not several.any():
        return batch
    if not allowed:
        i = int(several.argmax())
        raise CollateError(
            f"row {i} holds several documents, of {documents.of_row(i)} tokens by its {names[0]}: "
            "padding would let one see another; collate it with a PackingCollator"
        )
    return _split(batch, documents)


def _by_positions(positions: Rows, lengths: IntArray) -> _Documents:
    values = positions.joined()
    stops = np.cumsum(lengths)
    first = (stops - lengths)[lengths > 0]
    expected = np.zeros(len(values), np.int64)
    expected[1:] = values[:-1] + 1
    expected[first] = 0
    wrong = (values != expected) & (values != 0)
    if wrong.any():
        place = int(wrong.argmax())
        row = int(np.searchsorted(stops, place, side="right"))
        raise CollateError(
            f"position_ids of row {row} hold {values[place]} at token {place - int(stops[row] - lengths[row])}: "
            "they count from 0, and begin again at 0 with each document of a row"
        )
    begins = np.flatnonzero(values == 0)
    counts = np.bincount(np.searchsorted(stops, begins, side="right"), minlength=len(lengths))
    return _Documents(np.diff(begins, append=len(values)), counts)


def _by_lengths(rows: Rows, lengths: IntArray) -> _Documents:
    found = _Documents(rows.joined().astype(np.int64), rows.lengths)
    for i, length in enumerate(lengths.tolist()):
        parts = found.of_row(i)
        if sum(parts) != length or min(parts, default=1) < 1:
            raise CollateError(
                f"row {i} has seq_lengths {parts} and {length} tokens: they are the lengths of its documents, at "
                "least 1 each, and sum to the row's tokens (padding not counted)"
            )
    return found


def _check_agreement(positions: _Documents, lengths: _Documents) -> None:
    for i in range(len(positions.counts)):
        counted, told = positions.of_row(i), lengths.of_row(i)
        if counted != told:
            raise CollateError(
                f"row {i} has seq_lengths {told}, but by its position_ids they are {counted}: "
                "leave out the one that is wrong"
            )


def _split(batch: RaggedBatch, documents: _Documents) -> RaggedBatch:
    lengths, counts = documents
    owner = np.arange(len(counts)).repeat(counts)
    edges = np.concatenate([[0], np.cumsum(counts)])
    before = np.cumsum(lengths) - lengths
    begins = before - (np.cumsum(batch.tokens.lengths) - batch.tokens.lengths)[owner]  # within its row

    def piece(rows: Rows) -> Rows:
        return Rows(rows.values, rows.starts[owner] + begins, lengths)

    columns = {}
    for name, rows in batch.columns.items():
        whole = Rows(rows.values, rows.starts[owner], rows.lengths[owner])
        columns[name] = piece(rows) if name == "labels" else whole
    return replace(
        batch,
        tokens=piece(batch.tokens),
        record_ids=batch.record_ids[owner],
        columns=columns,
        packs=Packs.of(lengths, edges, batch.width),
        cuts=begins if batch.cuts is None else batch.cuts[owner] + begins,
    )
