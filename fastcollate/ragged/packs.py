from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from fastcollate.errors import CollateError
from fastcollate.ragged.ragged import IntArray, steps_between

__all__ = ["Packs"]


class Packs(NamedTuple):
    """`Packs` say where documents lie that are laid end to end in rows of `width` cells.

    The cells of all packs are numbered through: pack `p` begins at cell `p * width`.

    Attributes:
        edges: The documents of each pack, int64[P+1]: pack `p` has those from `edges[p]` to `edges[p + 1]`.
        used: The number of cells of each pack that hold tokens, int64[P]; the other cells are a gap at its end.
        begins: The first cell of each document, int64[D].
        numbers: The number of each document in its pack, from 0, int64[D].
        width: The number of cells of each pack.

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
        """Return where documents lie.

        Args:
            lengths: The number of tokens of each document, int64[D].
            edges: The documents of each pack, int64[P+1]; see the attribute.
            width: The number of cells of each pack; by default as many as the fullest pack has tokens.

        Raises:
            CollateError: A pack has more tokens than cells.
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
        """The number of cells of all packs together."""
        return len(self.used) * self.width

    @property
    def tokens(self) -> int:
        """The number of cells that hold tokens."""
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
        extents = steps_between(self.begins, self.cells)
        extents[:1] += self.begins[:1]
        return extents

    def gaps(self) -> list[tuple[int, int, int]]:
        """(start, stop, how many documents come before) of each stretch of padding: few, packs are nearly full."""
        width, before = self.width, self.edges.tolist()
        return [
            (pack * width + used, (pack + 1) * width, before[pack + 1])
            for pack, used in enumerate(self.used.tolist())
            if used < width
        ]
