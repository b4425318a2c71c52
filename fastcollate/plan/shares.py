"""Consecutive batches of one worker as few arrays: what is looked up, and cut into parcels, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, Packs

__all__ = ["InSteps", "Pieces", "Share", "cut_stream", "dealt_evenly", "fitting"]


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


class InSteps(NamedTuple):
    """`InSteps` says which steps the batches of a share belong to, and what these steps have over all ranks.

    Attributes:
        micro: Which of its rank's batches of the step each is, from 0: int64[C].
        home: The number of each batch's step, from 0: int64[C].
        size: The batches of a step over all ranks.
        whole: Returns all batches of these steps as shares, `size` for each step, one step after another.
    """

    micro: IntArray
    home: IntArray
    size: int
    whole: Callable[[], list[Share]]

    def part(self, first: int, last: int) -> InSteps:
        """Return those of the batches from `first` to `last`."""
        return self._replace(micro=self.micro[first:last], home=self.home[first:last])


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
        steps: Which steps the batches belong to; None where each batch is a step of its own.
    """

    record_ids: IntArray
    edges: IntArray
    widths: IntArray | None
    pieces: Pieces | None = None
    packs: Packs | None = None
    pack_edges: IntArray | None = None
    steps: InSteps | None = None

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
            None if self.steps is None else self.steps.part(first, last),
        )

    @classmethod
    def of_packs(cls, pieces: Pieces, packs: Packs, pack_edges: IntArray) -> Share:
        """Return the share of batches that have these packs; see the attributes."""
        widths = np.full(len(pack_edges) - 1, packs.width)
        return cls(pieces.records, packs.edges[pack_edges], widths, pieces, packs, pack_edges)


def dealt_evenly(begins: IntArray, sizes: IntArray, parts: int) -> IntArray:
    """Return where each part of each range begins, and where the range ends, int64[M, parts+1].

    Args:
        begins: Where each range begins, int64[M].
        sizes: How long each is, int64[M].
        parts: How many parts each range is cut into, which differ by one at most.

    >>> dealt_evenly(np.array([0, 10]), np.array([4, 5]), 2)
    array([[ 0,  2,  4],
           [10, 12, 15]])
    """
    return begins[:, None] + np.arange(parts + 1) * sizes[:, None] // parts


def fitting(documents: Pieces, length: int, overlong: str) -> Pieces:
    """Return documents of which those longer than `length` are cut, left out or split.

    >>> long = Pieces(np.array([7, 8]), np.array([0, 0]), np.array([5, 2]))
    >>> [column.tolist() for column in fitting(long, 3, "split")]
    [[7, 7, 8], [0, 3, 0], [3, 2, 2]]
    """
    over = documents.lengths > length
    if not over.any():
        return documents
    if overlong == "drop":
        return documents.at(np.flatnonzero(~over))
    if overlong == "truncate":
        return documents._replace(lengths=np.minimum(documents.lengths, length))
    parts = -(-documents.lengths // length)
    whole = documents.at(np.repeat(np.arange(len(parts)), parts))
    nth = np.arange(len(whole.records)) - np.repeat(np.cumsum(parts) - parts, parts)
    begins = nth * length
    return Pieces(whole.records, begins, np.minimum(whole.lengths - begins, length))


def cut_stream(stream: Pieces, begin: int, first: int, last: int, length: int) -> tuple[Pieces, IntArray]:
    """Return packs `first` to `last` of a stream whose first token is the epoch's token `begin`.

    Documents of 3 and 4 tokens, length 5: ends [3 7] and cuts [0 5 7] make the pieces 3, 2 and 2.
    """
    starts = begin + np.cumsum(stream.lengths) - stream.lengths
    stop = min(last * length, int(begin + stream.lengths.sum()))
    cuts = np.append(np.arange(first, last) * length, stop)
    points = np.unique(np.concatenate([starts[(starts > cuts[0]) & (starts < stop)], cuts]))
    owner = np.searchsorted(starts, points[:-1], side="right") - 1
    pieces = Pieces(stream.records[owner], points[:-1] - starts[owner], np.diff(points))
    return pieces, np.searchsorted(points, cuts)
