"""Rows that lie anywhere in several arrays, and the one loop that copies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from fastcollate.ragged.ragged import IntArray, Rows
from fastcollate.ragged.ragged_batch import RaggedBatch

__all__ = ["Found", "Scattered"]

_MOST_PLACES = 1 << 59  # values of a view: it may not have more bytes than a machine has addresses


class Scattered(NamedTuple):
    """`Scattered` rows lie in several arrays, such as the shards of a store or the sources of a mixture.

    Row `i` is `buffers[homes[i]][starts[i]:starts[i] + lengths[i]]`. Nothing is copied until `copy_into`.

    Attributes:
        buffers: The arrays that the rows lie in, each flat and contiguous.
        dtype: The dtype of all values together: that of every buffer, or one that holds them all.
        homes: The number of the buffer that each row lies in, int64[R]; None where there is one buffer only.
        starts: The place of each row's first value in its buffer, int64[R].
        lengths: The number of each row's values, int64[R].

    >>> buffers = [np.array([1, 2, 3]), np.array([7, 8])]
    >>> homes, starts, lengths = np.array([1, 0]), np.array([0, 1]), np.array([1, 2])
    >>> Scattered(buffers, np.dtype(np.int64), homes, starts, lengths).joined().values
    array([7, 2, 3])
    """

    buffers: Sequence[NDArray[Any]]
    dtype: np.dtype[Any]
    homes: IntArray | None
    starts: IntArray
    lengths: IntArray

    @classmethod
    def of(cls, rows: Rows) -> Scattered:
        """Return the rows of one array."""
        return Scattered([rows.values], rows.values.dtype, None, rows.starts, rows.lengths)

    @classmethod
    def merged(cls, count: int, parts: Sequence[tuple[slice | IntArray, Rows | Scattered]]) -> Scattered:
        """Return rows of several arrays as one selection of `count` rows: each part has its places in it."""
        several = [(places, part if isinstance(part, Scattered) else cls.of(part)) for places, part in parts]
        if len(several) == 1:
            places, rows = several[0]
            if isinstance(places, slice):
                return rows
            order = np.empty(count, np.int64)
            order[places] = np.arange(count)
            return rows.at(order)
        buffers = list[NDArray[Any]]()
        homes, starts, lengths = (np.empty(count, np.int64) for _ in range(3))
        for places, rows in several:
            homes[places] = len(buffers) if rows.homes is None else rows.homes + len(buffers)
            starts[places], lengths[places] = rows.starts, rows.lengths
            buffers += rows.buffers
        return Scattered(buffers, np.result_type(*(rows.dtype for _, rows in several)), homes, starts, lengths)

    def at(self, chosen: IntArray | slice) -> Self:
        """Return the chosen rows."""
        homes = None if self.homes is None else self.homes[chosen]
        return self._replace(homes=homes, starts=self.starts[chosen], lengths=self.lengths[chosen])

    def cut(self, begins: IntArray | int, lengths: IntArray) -> Self:
        """Return pieces of the rows: `lengths[i]` values of row `i` from its value `begins[i]` on."""
        return self._replace(starts=self.starts + begins, lengths=lengths)

    def copy_into(self, out: NDArray[Any], at: IntArray) -> None:
        """Copy row `i` to `out[at[i]:]`; `at` is int64[R].

        Slices of memoryviews are copied several times as fast as slices of arrays; these convert.
        """
        homes = [0] if self.homes is None else self.homes.tolist()
        lying: dict[int, Any] = {home: self.buffers[home] for home in set(homes)}
        same = all(buffer.dtype.char == out.dtype.char for buffer in lying.values())
        into: Any = out.data if same else out
        if same:
            lying = {home: buffer.data for home, buffer in lying.items()}
        begins, ends = self.starts.tolist(), (self.starts + self.lengths).tolist()
        firsts, lasts = at.tolist(), (at + self.lengths).tolist()
        if self.homes is None:
            values = lying[0]
            for begin, end, first, last in zip(begins, ends, firsts, lasts, strict=True):
                into[first:last] = values[begin:end]
            return
        for home, begin, end, first, last in zip(homes, begins, ends, firsts, lasts, strict=True):
            into[first:last] = lying[home][begin:end]

    def windows(self, begins: IntArray | int, width: int) -> tuple[NDArray[Any], IntArray] | None:
        """Return an overlapping view of all arrays, `[places, width]`, and the place in it of each row, int64[R].

        `view[places[i:j]]` is one memcpy a row, several times as fast as a loop over slices. Where the
        arrays are several, the view begins at the one that lies lowest in memory and spans all that lies between:
        so only these places are ever read, each of which is first checked to lie in its own array.

        Args:
            begins: The value of each row to begin with, int64[R], or of all rows; in an array, negative where what
                lies before a row is read too.
            width: How many values are read for each row.

        Returns:
            None if a row lies so close to an end of its array that other memory would be read, which is rare and
            cheaper to meet than to seek; or if the arrays do not lie as whole values apart.
        """
        size, buffers, homes = self.dtype.itemsize, self.buffers, self.homes
        if homes is not None:
            used, homes = np.unique(homes, return_inverse=True)  # of a share's many arrays
            buffers = [buffers[number] for number in used.tolist()]
        if any(not buffer.flags.c_contiguous or buffer.dtype != self.dtype for buffer in buffers):
            return None
        starts = self.starts + begins
        if not isinstance(begins, int) and np.minimum.reduce(starts) < 0:
            return None
        if homes is None:
            (values,) = buffers
            places = len(values) - width + 1
            if places <= np.maximum.reduce(starts):
                return None
            return np.ndarray((places, width), self.dtype, values.data, strides=(size, size)), starts
        first = np.array([buffer.__array_interface__["data"][0] for buffer in buffers])
        counts = np.array([len(buffer) for buffer in buffers])
        lowest = int(first.argmin())
        apart, odd = np.divmod(first - first[lowest], size)
        places = int((apart + counts).max()) - width + 1
        if odd.any() or places * width >= _MOST_PLACES or (starts + width > counts[homes]).any():
            return None
        view = as_strided(buffers[lowest], (places, width), (size, size), writeable=False)
        return view, starts + apart[homes]

    def joined(self) -> Rows:
        """Return the rows side by side in one array, copied."""
        ends = np.cumsum(self.lengths)
        begins = ends - self.lengths
        values = np.empty(int(ends[-1]) if len(ends) else 0, self.dtype)
        self.copy_into(values, begins)
        return Rows(values, begins, self.lengths)

    def rows(self) -> Rows:
        """Return the rows where they lie if that is one array, else side by side."""
        return Rows(self.buffers[0], self.starts, self.lengths) if self.homes is None else self.joined()

    def values_at(self, rows: IntArray, places: IntArray) -> IntArray:
        """Return one value of each of some rows: `places[i]` values into row `rows[i]`, int64[M]."""
        where = self.starts[rows] + places
        if self.homes is None:
            found: NDArray[Any] = self.buffers[0][where]
            return found.astype(np.int64)
        homes = self.homes[rows].tolist()
        lying = {home: self.buffers[home].data for home in set(homes)}
        values = (lying[home][place] for home, place in zip(homes, where.tolist(), strict=True))
        return np.fromiter(values, np.int64, len(homes))


class Found(NamedTuple):
    """`Found` records of a corpus lie where it has them: what a look-up returns, before anything is copied.

    Attributes:
        record_ids: The number of each record in its corpus, int64[R].
        tokens: The tokens of the records.
        columns: The columns that were asked for, by name and row for row.
    """

    record_ids: IntArray
    tokens: Scattered
    columns: Mapping[str, Scattered]

    @classmethod
    def of(cls, batch: RaggedBatch) -> Self:
        """Return the records that a batch holds."""
        columns = {name: Scattered.of(rows) for name, rows in batch.columns.items()}
        return cls(batch.record_ids, Scattered.of(batch.tokens), columns)

    @classmethod
    def merged(cls, count: int, parts: Sequence[tuple[IntArray, Found]]) -> Self:
        """Return records found in several places as one selection of `count`: each part has its places in it."""
        ids = np.empty(count, np.int64)
        for places, part in parts:
            ids[places] = part.record_ids
        first = parts[0][1]
        tokens = Scattered.merged(count, [(places, part.tokens) for places, part in parts])
        columns = {
            name: Scattered.merged(count, [(places, part.columns[name]) for places, part in parts])
            for name in first.columns
        }
        return cls(ids, tokens, columns)

    def batch(self) -> RaggedBatch:
        """Return the records as one batch: where they lie if that is one array, else copied side by side."""
        columns = {name: column.rows() for name, column in self.columns.items()}
        return RaggedBatch(self.tokens.rows(), self.record_ids, columns)
