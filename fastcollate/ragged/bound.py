"""What the values of rows are below: token ids are checked against their vocabulary where they are copied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fastcollate.errors import StoreCorruptError
from fastcollate.ragged.ragged import IntArray

__all__ = ["Bound"]


class Bound(NamedTuple):
    """A `Bound` is what all token ids of some files are below. Hashes tell that bytes are those that were written.

    Attributes:
        size: The ids of the vocabulary: one more than the largest. Of several bounds the lowest.
        where: The files, for the error.
        each: Where rows lie in several arrays with different bounds, that of each array; None where nobody knows.
    """

    size: int
    where: str
    each: tuple[Bound | None, ...] = ()

    @classmethod
    def of_all(cls, parts: Iterable[tuple[Bound | None, int]]) -> Bound | None:
        """Return the bound of arrays from several places: of each place its bound, and how many arrays."""
        parts = list(parts)
        first = parts[0][0] if parts else None
        if all(bound == first for bound, _ in parts):
            return first
        each = list[Bound | None]()
        for bound, count in parts:
            each += bound.each if bound is not None and bound.each else [bound] * count
        return cls(min(bound.size for bound, _ in parts if bound is not None), "", tuple(each))

    def check(
        self, values: NDArray[Any], begins: IntArray, lengths: IntArray, homes: IntArray | None = None
    ) -> None:
        """Check rows that were copied: `lengths[i]` values from `begins[i]` on.

        Cells between rows may hold anything; that all are below the bound is found by one comparison.

        Args:
            values: The cells.
            begins: Where each row begins, int64[R].
            lengths: The values of each row, int64[R].
            homes: The array that each row came from, int64[R]; None where there is one.

        Raises:
            StoreCorruptError: A row has an id that is not below the bound.
        """
        if len(begins) and int(values[int(begins.min()) :].max(initial=0)) >= self.size:
            self.check_rows(values, begins, lengths, homes)

    def check_rows(
        self, values: NDArray[Any], begins: IntArray, lengths: IntArray, homes: IntArray | None = None
    ) -> None:
        """Check rows that may lie anywhere, one by one; see `check`."""
        places = zip(begins.tolist(), lengths.tolist(), strict=True)
        for number, (begin, length) in enumerate(places):
            bound = self.each[0 if homes is None else int(homes[number])] if self.each else self
            if bound is None:
                continue
            largest = int(values[begin : begin + length].max(initial=0))
            if largest >= bound.size:
                raise StoreCorruptError(
                    f"{bound.where}: a record holds the token id {largest}, and the vocabulary has {bound.size}, "
                    "numbered from 0: the files are not what their tokenizer made; prepare the store again"
                )
