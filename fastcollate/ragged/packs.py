from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from fastcollate.errors import CollateError
from fastcollate.ragged.ragged import IntArray

__all__ = ["Packs"]


class Packs(NamedTuple):
    """Documents laid end to end in rows of `width` cells: which share a row, and where in it they lie.

    Letters: P packs, D documents. Pack `p` is the cells from `p * width` on.

    Attributes:
        edges: int64[P+1], pack `p` has the documents `edges[p]` to `edges[p + 1]`.
        used: int64[P], its tokens; the rest of its cells is a gap.
        begins: int64[D], the first cell of each document.
        numbers: int64[D], counted from 0 in each pack.
        width: cells of a pack.

    >>> packs = Packs.of(np.array([3, 2, 4]), np.array([0, 2, 3]), 6)
    >>> packs.begins, packs.numbers, packs.gaps()
    (array([0, 3, 6]), array([0, 1, 0]), [(5, 6, 2), (10, 12, 3)])
    """

    edges: IntArray
    used: IntArray
    begins: IntArray
    numbers: IntArray
    width: int

    @classmethod
    def of(cls, lengths: IntArray, edges: IntArray, width: int | None = None) -> Self:
        """Documents of `lengths: int64[D]` in the packs that `edges` names, as wide as the fullest if not told.

        Raises:
            CollateError: more tokens in a pack than it has cells.
        """
        before = np.zeros(len(lengths) + 1, np.int64)
        np.add.accumulate(lengths, out=before[1:])
        tokens = before[edges]
        used = tokens[1:] - tokens[:-1]
        most = int(used.max(initial=1))
        width = most if width is None else width
        if most > width:
            raise CollateError(f"a pack has {most} tokens but the plan fixed {width}: pack with PackedDataset")
        counts = edges[1:] - edges[:-1]
        shifts = np.arange(len(counts)) * width - tokens[:-1]
        begins = before[:-1] + shifts.repeat(counts)
        return cls(edges, used, begins, np.arange(len(lengths)) - edges[:-1].repeat(counts), width)

    @property
    def cells(self) -> int:
        """Of all packs."""
        return len(self.used) * self.width

    @property
    def tokens(self) -> int:
        """Cells that are in no gap."""
        return sum(self.used.tolist())  # few: faster than NumPy

    def part(self, first: int, last: int) -> Self:
        """Packs `first` to `last`, as if there were no others."""
        edges = self.edges[first : last + 1]
        begin, end = int(edges[0]), int(edges[-1])
        begins = self.begins[begin:end] - first * self.width
        return type(self)(edges - begin, self.used[first:last], begins, self.numbers[begin:end], self.width)

    def filled(self, count: int) -> Self:
        """The same with empty packs up to `count`."""
        missing = count - len(self.used)
        if missing <= 0:
            return self
        edges = np.concatenate([self.edges, self.edges[-1:].repeat(missing)])
        return self._replace(edges=edges, used=np.concatenate([self.used, np.zeros(missing, np.int64)]))

    def extents(self) -> IntArray:
        """int64[D], the cells from each document to the next, the gap after it (and before the first) included.

        What is true of a document is repeated over its extent, and the gaps then overwritten.
        """
        extents, begins = np.empty_like(self.begins), self.begins
        if len(begins):
            np.subtract(begins[1:], begins[:-1], out=extents[:-1])
            extents[-1] = self.cells - begins[-1]
            extents[0] += begins[0]
        return extents

    def gaps(self) -> list[tuple[int, int, int]]:
        """(start, stop, how many documents come before) of each stretch of padding: few, packs are nearly full."""
        width, before = self.width, self.edges.tolist()
        return [
            (pack * width + used, (pack + 1) * width, before[pack + 1])
            for pack, used in enumerate(self.used.tolist())
            if used < width
        ]
