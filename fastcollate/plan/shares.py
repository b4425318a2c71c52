"""Consecutive batches of one worker as few arrays: what is looked up, and cut into parcels, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, Packs

__all__ = ["InSteps", "Pieces", "Share"]


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

    @classmethod
    def of_packs(cls, pieces: Pieces, packs: Packs, pack_edges: IntArray) -> Share:
        """Return the share of batches that have these packs; see the attributes."""
        widths = np.full(len(pack_edges) - 1, packs.width)
        return cls(pieces.records, packs.edges[pack_edges], widths, pieces, packs, pack_edges)
