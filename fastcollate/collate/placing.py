"""Where each document goes in a batch of packs: lengths and cells only, no token is read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray
from fastcollate.ragged_batch import RaggedBatch

__all__ = ["Placed", "place_documents"]


class Placed(NamedTuple):
    """Documents laid end to end in `shape[0] * shape[1]` cells.

    Attributes:
        begins: int64[D], the first cell of each document.
        extents: int64[D], the cells from there to the next document, the gap after it (and before the first)
            included; what is true of a document is repeated over its extent, and the gaps then overwritten.
        document_ids: int64[D], numbered from 0 in each pack.
        gaps: (start, stop) of each stretch of padding.
        before_gaps: how many documents come before each.
    """

    begins: IntArray
    extents: IntArray
    document_ids: IntArray
    gaps: list[tuple[int, int]]
    before_gaps: list[int]
    shape: tuple[int, int]

    @property
    def tokens(self) -> int:
        """Cells that are no padding."""
        return self.shape[0] * self.shape[1] - sum(stop - start for start, stop in self.gaps)


def place_documents(batch: RaggedBatch, *, flat: bool) -> Placed:
    """Where each document goes: packs of lengths [3 2] [4] and width 6 begin at 0, 3 and 6.

    Their extents are [3 3 6], and the gaps are cells 5 to 6 and 10 to 12.
    """
    documents, lengths = np.arange(len(batch)), batch.lengths
    if flat:
        if len(batch) == 0:  # a filler is one cell of padding
            return Placed(documents, documents, documents, [(0, 1)], [0], (1, 1))
        ends = np.add.accumulate(lengths)
        return Placed(ends - lengths, lengths, documents, [], [], (1, int(ends[-1])))
    edges = np.arange(len(batch) + 1) if batch.packs is None else batch.packs
    counts = edges[1:] - edges[:-1]
    rows = np.flatnonzero(counts)  # the packs that hold documents
    used: list[int] = np.add.reduceat(lengths, edges[rows]).tolist() if len(rows) else []
    width = max([1, *used]) if batch.width is None else batch.width
    if max(used, default=0) > width:
        raise CollateError(f"a pack has {max(used)} tokens but the plan fixed {width}: pack with PackedDataset")
    firsts = [row * width for row in [*rows.tolist(), len(counts)]]
    lead = firsts[0]
    free = [stop - start - count for start, stop, count in zip(firsts[:-1], firsts[1:], used, strict=True)]
    last = edges[rows + 1]
    before = zip(firsts, [lead, *free], [0, *last.tolist()], strict=True)
    found = [((stop - gap, stop), documents) for stop, gap, documents in before if gap]
    gaps, before_gaps = [gap for gap, _ in found], [count for _, count in found]
    extents = lengths.copy()
    extents[last - 1] += np.array(free, np.int64)
    begins = np.add.accumulate(extents) - extents
    if lead:
        begins += lead
        extents[:1] += lead
    return Placed(begins, extents, documents - edges[:-1].repeat(counts), gaps, before_gaps, (len(counts), width))
