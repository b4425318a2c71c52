"""Rows that lie anywhere in several arrays, and the one loop that copies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged.bound import Bound
from fastcollate.ragged.ragged import IntArray, Rows, offsets_of, rows_between, steps_between
from fastcollate.ragged.ragged_batch import RaggedBatch
from fastcollate.ragged.span import Span

__all__ = ["Found", "Scattered"]

_FEW = 256  # rows that are checked where they lie: each takes a microsecond, more are copied and checked at once
_MANY, _LONG = (
    100,
    600,
)  # rows from which on, and values of a row in the mean up to which, they are copied in blocks
_SHORT = 8  # values of a row in the mean, up to which it is slower to copy each row than each value


class Scattered(NamedTuple):
    """`Scattered` rows lie in several arrays, such as the shards of a store or the sources of a mixture.

    Row `i` is `buffers[homes[i]][starts[i]:starts[i] + lengths[i]]`. Nothing is copied until they are laid out.

    Attributes:
        buffers: The arrays that the rows lie in, each flat and contiguous.
        dtype: The dtype of all values together: that of every buffer, or one that holds them all.
        homes: The number of the buffer that each row lies in, int64[R]; None where there is one buffer only.
        starts: The place of each row's first value in its buffer, int64[R].
        lengths: The number of each row's values, int64[R].
        span: All the arrays as one view, where somebody asked for it once for many parts; see `spanned`.
        bound: What all values are below, which is checked where they are copied; None where nobody knows.

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
    span: Span | None = None
    bound: Bound | None = None

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
        dtype = np.result_type(*(rows.dtype for _, rows in several))
        bound = Bound.of_all((rows.bound, len(rows.buffers)) for _, rows in several)
        return Scattered(buffers, dtype, homes, starts, lengths, bound=bound)

    def at(self, chosen: IntArray | slice) -> Self:
        """Return the chosen rows."""
        homes = None if self.homes is None else self.homes[chosen]
        return self._replace(homes=homes, starts=self.starts[chosen], lengths=self.lengths[chosen])

    def cut(self, begins: IntArray | int, lengths: IntArray) -> Self:
        """Return pieces of the rows: `lengths[i]` values of row `i` from its value `begins[i]` on."""
        return self._replace(starts=self.starts + begins, lengths=lengths)

    def spanned(self) -> Self:
        """Return the same rows with the span of their arrays, which parts of them then share."""
        return self if self.span is not None else self._replace(span=Span.over(self.buffers, self.dtype))

    def laid_out(self, at: IntArray, cells: int) -> NDArray[Any]:
        """Return an array of so many `cells` with row `i` from `at[i]` on, and anything in the cells between rows.

        Whole stretches are copied, each row with what lies behind it up to the next row's place: many rows in
        blocks, which NumPy copies without a step in Python, few or long ones as one slice each. Where that would
        leave the row's array, rows are copied one by one.

        Args:
            at: The place of each row, int64[R]; places rise, and rows do not overlap.
            cells: The length of the array.

        Raises:
            StoreCorruptError: A row has a value that is not below the bound.
        """
        out = self._laid_out(at, cells)
        if self.bound is not None:
            self.bound.check(out, at, self.lengths, self.homes)
        return out

    def _laid_out(self, at: IntArray, cells: int) -> NDArray[Any]:
        """The same unchecked."""
        if len(at) == 0:
            return np.empty(cells, self.dtype)
        extents, span = steps_between(at, cells), self.spanned().span
        if span is None or not span.holds(self.homes, self.starts, extents).all():
            return self._laid_singly(at, cells)
        values, places = span.values.data, span.places(self.homes, self.starts)
        if len(at) >= _MANY and cells <= _LONG * len(at):
            block = 1 << max(1, cells * 4 // (3 * len(at))).bit_length() - 1
            if span.holds(self.homes, self.starts, np.maximum(extents, block)).all():
                return span.laid_out(places, extents, at, cells, block)
        pieces = [
            values[begin:end] for begin, end in zip(places.tolist(), (places + extents).tolist(), strict=True)
        ]
        if at[0]:
            pieces.insert(0, np.empty(at[0], self.dtype).data)
        return np.frombuffer(bytearray().join(pieces), self.dtype)

    def _laid_singly(self, at: IntArray, cells: int) -> NDArray[Any]:
        """The same row by row: slices of memoryviews are copied faster than those of arrays, which convert.

        Cells between rows hold anything.
        """
        out = np.empty(cells, self.dtype)
        homes = [0] * len(at) if self.homes is None else self.homes.tolist()
        lying: dict[int, Any] = {home: self.buffers[home] for home in set(homes)}
        same = all(buffer.dtype.char == out.dtype.char for buffer in lying.values())
        into: Any = out.data if same else out
        if same:
            lying = {home: buffer.data for home, buffer in lying.items()}
        begins, ends = self.starts.tolist(), (self.starts + self.lengths).tolist()
        firsts, lasts = at.tolist(), (at + self.lengths).tolist()
        for home, begin, end, first, last in zip(homes, begins, ends, firsts, lasts, strict=True):
            into[first:last] = lying[home][begin:end]
        return out

    def joined(self) -> Rows:
        """Return the rows side by side in one array, copied: value by value where they are short, as spans are.

        Raises:
            StoreCorruptError: A row has a value that is not below the bound.
        """
        edges = offsets_of(self.lengths)
        count = int(edges[-1])
        values = self._short_rows(count) if 0 < count <= _SHORT * len(self.lengths) else None
        return Rows(self.laid_out(edges[:-1], count) if values is None else values, edges[:-1], self.lengths)

    def _short_rows(self, count: int) -> NDArray[Any] | None:
        """The `count` values of all rows; None where they are not to be had without a look at each row."""
        span = self.spanned().span
        if span is None or self.bound is not None or not span.holds(self.homes, self.starts, self.lengths).all():
            return None
        places, width = span.places(self.homes, self.starts), int(self.lengths[0])
        if count == width * len(self.lengths) and (self.lengths == width).all():
            return span.rectangle(places, width)
        values: NDArray[Any] = span.values[rows_between(places, self.lengths)]
        return values

    def rows(self) -> Rows:
        """Return the rows where they lie if that is one array, else side by side.

        Raises:
            StoreCorruptError: A row has a value that is not below the bound.
        """
        if self.homes is not None or (self.bound is not None and len(self.starts) > _FEW):
            return self.joined()
        if self.bound is not None:
            self.bound.check_rows(self.buffers[0], self.starts, self.lengths)
        return Rows(self.buffers[0], self.starts, self.lengths)

    def values_at(self, rows: IntArray, places: IntArray) -> IntArray:
        """Return one value of each of some rows: `places[i]` values into row `rows[i]`, int64[M].

        Raises:
            StoreCorruptError: One is not below the bound.
        """
        values = self._values_at(rows, places)
        if self.bound is not None:
            homes = None if self.homes is None else self.homes[rows]
            self.bound.check(values, np.arange(len(values)), np.ones(len(values), np.int64), homes)
        return values

    def _values_at(self, rows: IntArray, places: IntArray) -> IntArray:
        """The same unchecked."""
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
        """Return the records as one batch: where they lie if that is one array, else copied side by side.

        Whoever gathers records to look at them, as an audit does, sees values of any size: no bound is checked.
        """
        columns = {name: column.rows() for name, column in self.columns.items()}
        return RaggedBatch(self.tokens._replace(bound=None).rows(), self.record_ids, columns)
