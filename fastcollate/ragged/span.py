"""One view of the memory that several arrays lie in, from which rows are copied several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from fastcollate.ragged.memory import address_of
from fastcollate.ragged.ragged import IntArray

__all__ = ["Span", "bounds_at"]

_AT_ONCE = 1 << 20  # bytes of blocks, which are copied twice
_FARTHEST = 1 << 46  # values between two arrays: all addresses that programs have


class Span(NamedTuple):
    """A `Span` is all that lies between the lowest of some arrays and the end of the highest, as one flat view.

    What lies between the arrays belongs to others and may not be read: each place is checked first by `holds`.

    Attributes:
        values: The view; the arrays must be kept while it is in use.
        begins: The place in the view of each array's first value, int64[M].
        sizes: The number of values of each array, int64[M].

    >>> first, second = np.arange(10, dtype=np.uint16), np.arange(50, 60, dtype=np.uint16)
    >>> span = Span.over([first, second], first.dtype)
    >>> places = span.begins[[1, 0]] + np.array([2, 7])
    >>> span.rectangle(places, 3)
    array([52, 53, 54,  7,  8,  9], dtype=uint16)
    """

    values: NDArray[Any]
    begins: IntArray
    sizes: IntArray

    @classmethod
    def over(cls, arrays: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> Self | None:
        """Return the span of flat arrays; None if their dtypes differ, or they do not lie whole values apart."""
        if not arrays or any(array.dtype != dtype or not array.flags.c_contiguous for array in arrays):
            return None
        sizes = np.array([len(array) for array in arrays], np.int64)
        if len(arrays) == 1:
            return cls(arrays[0], np.zeros(1, np.int64), sizes)
        first = np.array([address_of(array) for array in arrays])
        lowest = int(first.argmin())
        begins, odd = np.divmod(first - first[lowest], dtype.itemsize)
        count = int((begins + sizes).max())
        if odd.any() or count >= _FARTHEST:
            return None
        values = as_strided(arrays[lowest], (count,), (dtype.itemsize,), writeable=False)
        return cls(values, begins, sizes)

    def holds(self, homes: IntArray | None, starts: IntArray, counts: IntArray) -> NDArray[np.bool_]:
        """Return whether `counts[i]` values from `starts[i]` on lie in array `homes[i]`, the only one if None."""
        sizes = self.sizes[0] if homes is None else self.sizes[homes]
        found: NDArray[np.bool_] = (starts >= 0) & (starts + counts <= sizes)
        return found

    def places(self, homes: IntArray | None, starts: IntArray) -> IntArray:
        """Return where in the view the values `starts: int64[R]` of the arrays `homes: int64[R]` lie."""
        return starts if homes is None else self.begins[homes] + starts

    def laid_out(self, places: IntArray, counts: IntArray, at: IntArray, cells: int, block: int) -> NDArray[Any]:
        """Return an array of so many `cells` with `counts[i]` values from `places[i]` on at `at[i]`.

        They are copied in blocks: the last one of a row ends with it, and that of a row shorter than a block lies
        over cells behind it, which later rows are written to. So rows are written in their order.

        Args:
            places: Where in the view each row lies, int64[R]; it was checked that a row of at least `block` values
                lies there.
            counts: The values of each row, int64[R].
            at: The place of each row, int64[R]; places rise, and rows do not overlap.
            cells: The length of the array; cells of no row hold anything.
            block: The values of a block.

        >>> Span.over([np.arange(9)], np.dtype(np.int64)).laid_out(*np.array([[5, 1], [1, 3], [0, 1]]), 4, 2)
        array([5, 1, 2, 3])
        """
        blocks = np.maximum((counts + (block - 1)) // block, 1)
        ends = blocks.cumsum()
        into = (at - (ends - blocks) * block).repeat(blocks)
        into += np.arange(0, len(into) * block, block)
        into[ends - 1] = at + np.maximum(counts - block, 0)
        source = into + (places - at).repeat(blocks)
        out = np.empty(cells + block, self.values.dtype)
        values, copied, some = (
            _items(self.values, block),
            _items(out, block),
            max(1, _AT_ONCE // out[:block].nbytes),
        )
        for first in range(0, len(into), some):
            copied[into[first : first + some]] = values[source[first : first + some]]
        return out[:cells]

    def rectangle(self, places: IntArray, width: int) -> NDArray[Any]:
        """Return the `width` values from each place on, side by side; the places were checked.

        Items of many bytes without a type are copied by one memcpy each, several times as fast as slices.
        """
        found: NDArray[Any] = _items(self.values, width)[places].view(self.values.dtype)
        return found


def bounds_at(offsets: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return where some rows begin and how long they are, int64[M] both, by one look-up each instead of two.

    Args:
        offsets: Where each row begins, and the last one ends: int64[N+1].
        rows: The numbers of the rows, int64[M].

    >>> bounds_at(np.array([0, 3, 3, 5]), np.array([2, 0]))
    (array([3, 0]), array([2, 3]))
    """
    if not offsets.flags.c_contiguous:
        starts = offsets[rows]
        return starts, offsets[1:][rows] - starts
    found = _items(offsets, 2)[rows].view(offsets.dtype).reshape(-1, 2)
    return found[:, 0].copy(), found[:, 1] - found[:, 0]


def _items(values: NDArray[Any], width: int) -> NDArray[np.void]:
    """All runs of `width` values as overlapping items without a type: NumPy copies each by one memcpy."""
    size = values.itemsize
    return np.ndarray((max(0, len(values) - width + 1),), f"V{size * width}", values, 0, (size,))
