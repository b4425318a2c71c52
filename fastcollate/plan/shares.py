"""Consecutive batches of one worker as few arrays: what is looked up, and cut into parcels, at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, Packs

__all__ = ["Pieces", "Share"]


class Pieces(NamedTuple):
    """`Pieces` are runs of tokens: `lengths[i]` tokens of record `records[i]` from its token `begins[i]` on.

    All three are int64[D].
    """

    records: IntArray
    begins: IntArray
    lengths: IntArray

    def at(self, chosen: IntArray | slice) -> Pieces:
        """Return the chosen pieces."""
        return Pieces(*(column[chosen] for column in self))


class Share(NamedTuple):
    """A `Share` names the records of some consecutive batches of one worker of one rank.

    Letters: R, the rows of all batches (documents where they are packs); C, the number of batches.

    Attributes:
        record_ids: The record of each row, int64[R]; -1 marks filler rows, which come last in their batch.
        edges: The rows of each batch, int64[C+1]: batch `c` has those from `edges[c]` to `edges[c + 1]`.
        widths: The columns to pad each batch to, int64[C]; None where the longest row decides.
        pieces: The documents, where rows are documents of packs; else None.
        packs: The packs of all batches, numbered through; None where a row is a row.
        pack_edges: The packs of each batch, int64[C+1]; None where a row is a row.
    """

    record_ids: IntArray
    edges: IntArray
    widths: IntArray | None
    pieces: Pieces | None = None
    packs: Packs | None = None
    pack_edges: IntArray | None = None

    @property
    def real_ids(self) -> IntArray:
        """The records of the rows that are no filler, as they are looked up: int64[M]."""
        real = self.record_ids >= 0
        return self.record_ids if real.all() else self.record_ids[real]

    def part(self, first: int, last: int) -> Share:
        """Return the batches from `first` to `last`, without a copy."""
        begin = int(self.edges[first])
        rows = slice(begin, int(self.edges[last]))
        packs, pack_edges = self.packs, self.pack_edges
        if packs is not None and pack_edges is not None:
            packs = packs.part(int(pack_edges[first]), int(pack_edges[last]))
            pack_edges = pack_edges[first : last + 1] - pack_edges[first]
        return Share(
            self.record_ids[rows],
            self.edges[first : last + 1] - begin,
            None if self.widths is None else self.widths[first:last],
            None if self.pieces is None else self.pieces.at(rows),
            packs,
            pack_edges,
        )

    @classmethod
    def of_packs(cls, pieces: Pieces, packs: Packs, pack_edges: IntArray) -> Share:
        """Return the share of batches that have these packs; see the attributes."""
        widths = np.full(len(pack_edges) - 1, packs.width)
        return cls(pieces.records, packs.edges[pack_edges], widths, pieces, packs, pack_edges)
