"""Records of mapped files that memory does not hold, copied into memory of ours before they are used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from fastcollate.corpus.corpus import Records, find_in
from fastcollate.ragged import (
    Found,
    IntArray,
    MergedRows,
    RaggedBatch,
    Scattered,
    address_of,
    new_array,
    offsets_of,
    rows_between,
)
from fastcollate.storage.asked_pages import PAGE, advise_random, ask_for, bytes_read_here
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["PagedIn", "paged_in"]

_CHUNK = 16 << 20  # bytes of pages that are asked for at once: what is asked for too early is dropped before use
_NEAR = 2 * PAGE  # stretches that lie no farther apart are read as one: that takes less time than another one


class PagedIn:
    """`PagedIn` records keep `SlowRecords` over any records that are views of mapped files.

    Args:
        records: The records, whose `find` copies nothing.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._advised: set[int] = set()

    def is_slow(self) -> bool:
        """Return True."""
        return True

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        return self._records.lengths_at(indices)

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records lie, which is not read yet."""
        return find_in(self._records, indices, columns)

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records as a batch."""
        return self._records.gather(indices, columns)

    def read(self, indices: IntArray, columns: Collection[str], counts: ReadCounts) -> Found:
        """Return what `find` returns, with the rows in memory of their own."""
        found = self.find(indices, columns)
        return Found(
            found.record_ids,
            self._read(found.tokens, counts),
            {name: self._read(rows, counts) for name, rows in found.columns.items()},
        )

    def _read(self, rows: Scattered, counts: ReadCounts) -> Scattered:
        for buffer in rows.buffers:
            address = address_of(buffer)
            if address not in self._advised:
                self._advised.add(address)
                advise_random(address, buffer.nbytes)
        return paged_in(rows, counts)


def paged_in(rows: Scattered, counts: ReadCounts) -> Scattered:
    """Return rows copied into memory of their own: pages are asked for in large numbers, and then waited for.

    Other threads go on meanwhile: who waits for a page holds no lock.

    Args:
        rows: The rows, of mapped files.
        counts: What the bytes that were read and used are added to.

    Raises:
        StoreCorruptError: A row has a value that is not below the bound.
    """
    merged = MergedRows.of(rows.homes, rows.starts, rows.lengths)
    values, edges = new_array((int(merged.sizes.sum()),), rows.dtype), offsets_of(merged.sizes)
    if not len(merged.homes):
        return Scattered([values], rows.dtype, None, merged.places, rows.lengths)
    pages, before = _Pages.of(merged, rows.buffers), bytes_read_here()
    following = pages.chunks()
    pages.ask(following[0])
    for number, chunk in enumerate(following):
        if number + 1 < len(following):
            pages.ask(following[number + 1])
        pages.wait(chunk)
        first, last = pages.stretches(chunk)
        _copy(rows.buffers, merged, first, last, values[edges[first] : edges[last]])
    after, wanted = bytes_read_here(), int((pages.ends - pages.begins).sum())
    read = wanted if before is None or after is None else after - before
    counts.bytes_read += read
    counts.cache_hits += max(0, wanted - read)
    counts.bytes_used += int(rows.lengths.sum()) * rows.dtype.itemsize
    if rows.bound is not None:  # by the array that each row was of, which nobody knows afterwards
        rows.bound.check(values, merged.places, rows.lengths, rows.homes)
    return Scattered([values], rows.dtype, None, merged.places, rows.lengths)


class _Pages(NamedTuple):
    """The pages that stretches lie on, those of near ones together.

    Attributes:
        begins, ends: Addresses, multiples of the size of a page: int64[M] each.
        firsts: The first stretch of each, and at the end how many there are: int64[M+1].
        lowest: The array that lies lowest; addresses below it are not looked at.
    """

    begins: IntArray
    ends: IntArray
    firsts: IntArray
    lowest: NDArray[Any]

    @classmethod
    def of(cls, merged: MergedRows, buffers: Sequence[NDArray[Any]]) -> Self:
        """Return the pages of stretches of some arrays."""
        at = np.array([address_of(buffer) for buffer in buffers])
        sizes = np.array([buffer.itemsize for buffer in buffers])[merged.homes]
        begins = (at[merged.homes] + merged.begins * sizes) // PAGE * PAGE
        ends = -(-(at[merged.homes] + merged.ends * sizes) // PAGE) * PAGE
        fresh = np.ones(len(begins), bool)
        fresh[1:] = (begins[1:] > ends[:-1] + _NEAR) | (np.diff(merged.homes) != 0)
        firsts = np.append(np.flatnonzero(fresh), len(begins))
        return cls(begins[firsts[:-1]], ends[firsts[1:] - 1], firsts, buffers[int(at.argmin())])

    def chunks(self) -> list[slice]:
        """Return which of the pages are asked for at once."""
        number = (np.cumsum(self.ends - self.begins) - 1) // _CHUNK
        edges = np.flatnonzero(np.diff(number, prepend=-1, append=-1)).tolist()
        return [slice(first, last) for first, last in pairwise(edges)]

    def stretches(self, chunk: slice) -> tuple[int, int]:
        """Return the first of the stretches on some of the pages, and the one after the last."""
        return int(self.firsts[chunk.start]), int(self.firsts[chunk.stop])

    def ask(self, chunk: slice) -> None:
        """Have pages read."""
        ask_for(self.begins[chunk], self.ends[chunk])

    def wait(self, chunk: slice) -> None:
        """Look at a byte of each page; NumPy lets go of the interpreter while it takes them."""
        base = address_of(self.lowest)
        counts = (self.ends[chunk] - self.begins[chunk]) // PAGE
        bytes_of_pages = np.maximum(rows_between(self.begins[chunk] // PAGE, counts) * PAGE - base, 0)
        whole = as_strided(self.lowest.view(np.uint8), (int(bytes_of_pages.max()) + 1,), (1,), writeable=False)
        whole.take(bytes_of_pages)


def _copy(buffers: Sequence[NDArray[Any]], merged: MergedRows, first: int, last: int, out: NDArray[Any]) -> None:
    """Copy the stretches `first` to `last` side by side."""
    at = 0
    some = MergedRows(merged.homes[first:last], merged.begins[first:last], merged.ends[first:last], merged.places)
    for home, part in some.by_home():
        bounds = zip(some.begins[part].tolist(), some.ends[part].tolist(), strict=True)
        buffer = buffers[home]
        view = buffer.data
        joined = np.frombuffer(b"".join([view[begin:end] for begin, end in bounds]), buffer.dtype)
        out[at : at + len(joined)] = joined
        at += len(joined)
