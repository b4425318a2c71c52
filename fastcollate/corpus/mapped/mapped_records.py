"""The rows of foreign files as numbered records, found where they lie."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fastcollate.corpus.mapped.copied_rows import CopiedRows
from fastcollate.corpus.mapped.hashed_files import HashedFile
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, Piece
from fastcollate.ragged import Found, IntArray, RaggedBatch, Rows, Scattered, offsets_of, places_by_home
from fastcollate.storage.local import MappedFile

__all__ = ["MappedRecords"]


class MappedRecords(NamedTuple):
    """Records numbered from 0 over the rows of several pieces.

    Attributes:
        pieces: The pieces, checked.
        begins: The number of the first row of each piece, and the number of all rows: int64[S+1].
        chosen: The row that each record is: a range, or int64[N].
        hashed: The files that their writer hashed.
        files: All files, as they were when they were opened.
    """

    pieces: Sequence[Piece]
    begins: IntArray
    chosen: range | IntArray
    hashed: Sequence[HashedFile] = ()
    files: Sequence[MappedFile] = ()

    @classmethod
    def of(cls, layout: Layout) -> MappedRecords:
        """Return all rows that have a token, as records, in the order that the layout says."""
        pieces, order = layout.pieces, layout.order
        begins = offsets_of([len(piece.tokens.lengths) for piece in pieces])
        empty = [
            np.flatnonzero(piece.tokens.lengths == 0) + int(begin)
            for piece, begin in zip(pieces, begins, strict=False)
        ]
        if not any(map(len, empty)):
            return cls(pieces, begins, range(int(begins[-1])) if order is None else order)
        full = np.ones(int(begins[-1]), bool)
        full[np.concatenate(empty)] = False
        return cls(pieces, begins, np.flatnonzero(full) if order is None else order[full[order]])

    @property
    def copies(self) -> bool:
        """Whether to look records up is to copy them, because some do not lie as tokens do."""
        rows = [part for piece in self.pieces for part in (piece.tokens, piece.labels)]
        return any(isinstance(part, CopiedRows) for part in rows)

    @property
    def rejected(self) -> dict[str, int]:
        """How many rows are no records, by reason: a row without tokens is `"empty"`."""
        empty = int(self.begins[-1]) - len(self.chosen)
        return {"empty": empty} if empty else {}

    def locate(self, index: int) -> tuple[Piece, int]:
        """Return the piece of one record, and its row there."""
        number = int(self.chosen[index])
        home = bisect_right(self.begins, number) - 1
        return self.pieces[home], number - int(self.begins[home])

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        out = np.empty(len(indices), np.int64)
        for piece, positions, rows in self._shares(indices):
            out[positions] = piece.tokens.lengths[rows]
        return out

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records `indices: int64[R]` lie, with the `columns` asked for: `labels`, if any."""
        names = ("tokens", *columns)
        parts = {name: list[tuple[slice | IntArray, Rows]]() for name in names}
        shares = self._shares(indices) if len(indices) else [(self.pieces[0], slice(None), indices)]
        for piece, positions, rows in shares:
            for name in names:
                lying: MappedRows | CopiedRows = getattr(piece, name)
                parts[name].append((positions, lying.at(rows)))
        tokens, *beside = (Scattered.merged(len(indices), parts[name]) for name in names)
        return Found(indices, tokens, dict(zip(columns, beside, strict=True)))

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records `indices: int64[B]` as a batch, with the `columns` asked for."""
        return self.find(indices, columns).batch()

    def unverified(self) -> list[HashedFile]:
        """Return the files that their writer hashed, and nobody did since."""
        return [file for file in self.hashed if not file.is_whole]

    def mapped(self) -> Sequence[MappedFile]:
        """Return all files, at which datasets look whether they change while they are read."""
        return self.files

    def _shares(self, indices: IntArray) -> Iterator[tuple[Piece, slice | IntArray, IntArray]]:
        """Yield each piece that has some of the records, their places in the selection, and their rows there."""
        if not isinstance(self.chosen, range):
            numbers = self.chosen[indices]
        else:
            numbers = indices + self.chosen.start if self.chosen.start else indices
        if len(self.pieces) == 1:
            yield self.pieces[0], slice(None), numbers
            return
        homes = np.searchsorted(self.begins, numbers, "right") - 1
        for home, positions in places_by_home(homes):
            yield self.pieces[home], positions, numbers[positions] - int(self.begins[home])
