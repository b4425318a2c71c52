"""Ragged arrays: many rows of different lengths in two flat arrays; `fastcollate.ragged` explains the letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcollate.errors import InputError
from fastcollate.ragged.row_numbers import row_numbers

__all__ = ["IntArray", "Ragged", "Rows", "offsets_of", "places_by_home", "rows_between", "steps_between"]

IntArray = NDArray[np.int64]
_DTYPES = (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.int64))


class Ragged:
    """A `Ragged` holds rows of integers of different lengths: row `i` is `values[offsets[i]:offsets[i + 1]]`.

    Lists of token ids become one by `Ragged.from_rows(rows)`, and any dataset takes it as a corpus in memory.
    `len` is the number of rows, and `ragged[i]` is row `i` as a view. Two are equal if they have equal rows of one
    dtype.

    Args:
        values: The values of all rows side by side, uint16|uint32|int64[V]; the array is kept, and copied only
            where it is not aligned.
        offsets: Where each row begins in `values`, and at the end where the last one stops, int64[N+1]. Offsets
            never fall; the first is at least 0 and the last at most V.

    Raises:
        InputError: Values or offsets have another dtype or number of dimensions, or offsets fall or leave the
            values.

    >>> ragged = Ragged(np.array([1, 2, 3, 4, 5], np.uint16), np.array([0, 3, 5]))
    >>> ragged, ragged[1], ragged.lengths
    (Ragged(2 rows, 5 values, uint16), array([4, 5], dtype=uint16), array([3, 2]))
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: NDArray[Any], offsets: ArrayLike) -> None:
        offsets = np.asarray(offsets)
        if values.ndim != 1 or values.dtype not in _DTYPES:
            raise InputError(
                f"Ragged values are {values.dtype} with {values.ndim} dimension(s): "
                "they must be one-dimensional uint16, uint32 or int64; convert them with .astype(np.int64)"
            )
        if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) == 0:
            raise InputError("Ragged offsets must be a one-dimensional int64 array of N + 1 positions")
        if offsets[0] < 0 or offsets[-1] > len(values) or bool((offsets[1:] < offsets[:-1]).any()):
            raise InputError(f"Ragged offsets leave their values: they must rise from 0 to at most {len(values)}")
        self.values = values if values.flags.aligned else values.copy()
        self.offsets: IntArray = offsets.astype(np.int64, copy=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Row `index`, as a view."""
        i = range(len(self))[index]
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ragged):
            return NotImplemented
        mine, theirs = self.compact(), other.compact()
        return (
            mine.values.dtype == theirs.values.dtype
            and np.array_equal(mine.offsets, theirs.offsets)
            and np.array_equal(mine.values, theirs.values)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays change: equal objects cannot promise equal hashes

    def __repr__(self) -> str:
        return f"Ragged({len(self)} rows, {int(self.lengths.sum())} values, {self.values.dtype})"

    @property
    def lengths(self) -> IntArray:
        """The number of values of each row, int64[N]."""
        return np.diff(self.offsets)

    def compact(self) -> Ragged:
        """Return the same rows with `offsets[0] == 0` and no value outside a row, without a copy of the values."""
        first, last = self.offsets[0], self.offsets[-1]
        if first == 0 and last == len(self.values):
            return self
        return Ragged(self.values[first:last], self.offsets - first)

    def take(self, indices: ArrayLike) -> Ragged:
        """Return some of the rows, copied.

        Args:
            indices: The numbers of the rows wanted, int64[M], in any order and as often as wanted; each is from 0
                to `len(ragged) - 1`.

        Raises:
            InputError: The indices are no flat integers, or name a row that does not exist.

        >>> Ragged.from_rows([[1, 2], [3], [4, 5, 6]]).take([2, 1]).values
        array([4, 5, 6, 3])
        """
        chosen = row_numbers(indices, len(self))
        return Rows(self.values, self.offsets[:-1][chosen], self.lengths[chosen]).to_ragged()

    @classmethod
    def from_rows(cls, rows: Sequence[ArrayLike], dtype: type[np.integer[Any]] = np.int64) -> Ragged:
        """Return a `Ragged` with copies of the rows.

        Args:
            rows: The rows, each a flat list or array of integers; a row may be empty.
            dtype: The dtype of the values, int64 by default; `np.uint16` or `np.uint32` take less memory.

        Raises:
            InputError: A row is not flat, is not of integers, or holds a value that does not fit the dtype.

        >>> Ragged.from_rows([[7, 8], [9]]).offsets
        array([0, 2, 3])
        """
        arrays = [np.asarray(row) for row in rows]
        for i, array in enumerate(arrays):
            if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
                raise InputError(
                    f"row {i} is {array.dtype} with {array.ndim} dimension(s): rows are flat integers"
                )
        limits = np.iinfo(dtype)
        for i, array in enumerate(arrays):
            if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
                raise InputError(
                    f"row {i} holds values that do not fit {np.dtype(dtype)}: {limits.min} to {limits.max}"
                )
        offsets = offsets_of([len(array) for array in arrays])
        values = np.empty(offsets[-1], dtype)
        for array, start in zip(arrays, offsets[:-1].tolist(), strict=True):
            values[start : start + len(array)] = array
        return cls(values, offsets)

    @classmethod
    def concat(cls, parts: Sequence[Ragged]) -> Ragged:
        """Return all rows of several `Ragged`, one after another, copied.

        Args:
            parts: At least one `Ragged`; all have one dtype.

        Raises:
            InputError: There are no parts, or parts of different dtypes.

        >>> len(Ragged.concat([Ragged.from_rows([[1], [2]]), Ragged.from_rows([[3]])]))
        3
        """
        if not parts:
            raise InputError("Ragged.concat needs at least one part")
        if len({part.values.dtype for part in parts}) > 1:
            raise InputError("Ragged.concat needs parts of one dtype; convert them first")
        compact = [part.compact() for part in parts]
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate([part.values for part in compact]), offsets_of(lengths))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rows:
    """`Rows` lie anywhere in a flat array: row `i` is `values[starts[i]:starts[i] + lengths[i]]`.

    A `Ragged` is the special case of rows side by side; a selection of the rows of a `Ragged` is `Rows`, without a
    copy.

    Attributes:
        values: The array that the rows lie in, uint16|uint32|int64[V].
        starts: The place of each row's first value, int64[B].
        lengths: The number of each row's values, int64[B].
    """

    values: NDArray[Any]
    starts: IntArray
    lengths: IntArray

    @classmethod
    def of(cls, ragged: Ragged) -> Rows:
        """Return all rows of a `Ragged`, without a copy."""
        return cls(ragged.values, ragged.offsets[:-1], ragged.lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Row `index`, as a view."""
        i = range(len(self))[index]
        return self.values[self.starts[i] : self.starts[i] + self.lengths[i]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __reduce__(self) -> tuple[object, ...]:
        """To another process go these rows only, not the shard they lie in."""
        return Rows, (self.joined(), np.cumsum(self.lengths) - self.lengths, self.lengths)

    def slices(self) -> list[memoryview]:
        """Return each row as a view; see `joined`."""
        if len(self.values) == 0:
            return [memoryview(b"")] * len(self)
        flat = np.ascontiguousarray(self.values).data
        stops = (self.starts + self.lengths).tolist()
        return [flat[start:stop] for start, stop in zip(self.starts.tolist(), stops, strict=True)]

    def joined(self) -> NDArray[Any]:
        """Return the values of all rows side by side, one memcpy each: bytes are joined faster than arrays."""
        return np.frombuffer(bytearray().join(self.slices()), self.values.dtype)

    def to_ragged(self) -> Ragged:
        """Return the rows side by side, copied."""
        return Ragged(self.joined(), offsets_of(self.lengths))

    def filled(self, count: int) -> Rows:
        """Return the same rows with empty ones after them, up to `count`."""
        missing = np.zeros(count - len(self), np.int64)
        return Rows(self.values, np.concatenate([self.starts, missing]), np.concatenate([self.lengths, missing]))


def offsets_of(lengths: ArrayLike) -> IntArray:
    """Return where each of some rows side by side begins, and where the last one ends: int64[N+1].

    >>> offsets_of([3, 0, 2])
    array([0, 3, 3, 5])
    """
    counts = np.asarray(lengths)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def steps_between(begins: IntArray, end: int) -> IntArray:
    """Return int64[N]: how far it is from each of some rising numbers to the next, and from the last to `end`.

    >>> steps_between(np.array([1, 4, 4]), 9)
    array([3, 0, 5])
    """
    steps = np.empty_like(begins)
    if len(begins):
        np.subtract(begins[1:], begins[:-1], out=steps[:-1])
        steps[-1] = end - begins[-1]
    return steps


def rows_between(starts: IntArray, counts: IntArray) -> IntArray:
    """Return int64[R]: the numbers from `starts[i]` on, `counts[i]` of them, one stretch after another.

    >>> rows_between(np.array([7, 2]), np.array([2, 3]))
    array([7, 8, 2, 3, 4])
    """
    edges = offsets_of(counts)
    numbers: IntArray = np.arange(edges[-1]) + (starts - edges[:-1]).repeat(counts)
    return numbers


def places_by_home(homes: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each number that occurs in `homes: int64[M]`, the lowest first, with its places: int64[S].

    >>> [(home, places.tolist()) for home, places in places_by_home(np.array([3, 0, 3]))]
    [(0, [1]), (3, [0, 2])]
    """
    if len(homes) == 0:
        return
    narrow = homes.astype(np.uint16) if int(homes.max()) < 2**16 else homes  # sorted by radix
    order = np.argsort(narrow, kind="stable")
    grouped = homes[order]
    firsts = np.flatnonzero(np.diff(grouped, prepend=-1))
    yield from zip(grouped[firsts].tolist(), np.split(order, firsts[1:]), strict=True)
