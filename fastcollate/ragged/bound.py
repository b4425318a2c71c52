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
        size: The ids of the vocabulary: one more than the largest.
        where: The files, for the error.
    """

    size: int
    where: str

    @classmethod
    def of_all(cls, bounds: Iterable[Bound | None]) -> Bound | None:
        """Return what the ids of several files are below; None if nobody knows it of one of them."""
        known = list[Bound]()
        for bound in set(bounds):
            if bound is None:
                return None
            known.append(bound)
        if len(known) < 2:
            return known[0] if known else None
        known.sort()
        return cls(known[-1].size, " or ".join(bound.where for bound in known))

    def check(self, values: NDArray[Any], begins: IntArray, lengths: IntArray) -> None:
        """Check rows that were laid out: `lengths[i]` values from `begins[i]` on, which do not overlap.

        Cells between rows may hold anything; that all are below the bound is found by one comparison.

        Raises:
            StoreCorruptError: A row has an id that is not below the bound.
        """
        if not len(begins) or int(values[begins[0] :].max(initial=0)) < self.size:
            return
        for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True):
            largest = int(values[begin : begin + length].max(initial=0))
            if largest >= self.size:
                raise StoreCorruptError(
                    f"{self.where}: a record holds the token id {largest}, and the vocabulary has {self.size}, "
                    "numbered from 0: the files are not what their tokenizer made; prepare the store again"
                )
