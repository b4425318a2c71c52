"""The records of a mixture in one epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.ahead import SlowRecords, is_slow
from fastcollate.corpus.corpus import Records, RecordsOfFiles, find_in, knows_places
from fastcollate.corpus.paged_in import PagedIn
from fastcollate.plan.pack_plans.targets import Supervised
from fastcollate.plan.permutation import Permutations
from fastcollate.ragged import Found, IntArray, RaggedBatch, Rows, Scattered, places_by_home
from fastcollate.storage.local import MappedFile
from fastcollate.storage.read_counts import ReadCounts
from fastcollate.store.shards.background import Unverified

__all__ = ["MixtureRecords"]


class MixtureRecords:
    """The records of a mixture in one epoch, numbered from 0 source after source."""

    def __init__(
        self,
        records: list[Records],
        sizes: list[int],
        counts: list[int],
        keys: list[int],
        texts: Mapping[str, Sequence[NDArray[np.int32]]],
        *,
        unweighted: Mapping[int, Collection[str]] | None = None,
    ) -> None:
        """Args: of each source its records, how many those are, and come in an epoch; the keys of what is chosen;
        and what its numbers become in columns of strings; and the columns of sources whose spans all weigh 1.
        """
        self._records, self._texts = records, texts
        self._unweighted = {number: set(names) for number, names in (unweighted or {}).items()}
        self._sizes = np.maximum(sizes, 1)  # nobody asks for a record of an empty source
        self._begins = np.cumsum([0, *counts])
        self._bases = np.cumsum([0, *sizes])
        self._whole = np.array(counts) // self._sizes  # epochs of each source that are not a part of it
        self._choice = Permutations(self._sizes, keys)

    @property
    def copies(self) -> bool:
        """Whether to look records up is to copy some of them."""
        return not all(map(knows_places, self._records))

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return the tokens of the records `indices: int64[M]`, int64[M]."""
        return self._numbers(indices, lambda records, rows: records.lengths_at(rows))

    def supervised_at(self, indices: IntArray) -> IntArray:
        """Return the targets of the records `indices: int64[M]`, int64[M]; all tokens if nobody knows."""
        return self._numbers(
            indices,
            lambda records, rows: (
                records.supervised_at(rows) if isinstance(records, Supervised) else records.lengths_at(rows)
            ),
        )

    def _numbers(self, indices: IntArray, look_up: Callable[[Records, IntArray], IntArray]) -> IntArray:
        """What `look_up(records, rows)` says of each source's records."""
        out = np.empty(len(indices), np.int64)
        sources, rows = self.locate(indices)
        for number, places in places_by_home(sources):
            out[places] = look_up(self._records[number], rows[places])
        return out

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Return where the records `indices: int64[R]` lie in their sources, with the `columns` asked for."""
        return self._found(
            indices, columns, lambda source, rows, wanted: find_in(self._records[source], rows, wanted)
        )

    def is_slow(self) -> bool:
        """Return whether any source is worth reading ahead."""
        return any(map(is_slow, self._records))

    def read(self, indices: IntArray, columns: Collection[str], counts: ReadCounts) -> Found:
        """Return what `find` returns, with the rows in memory of their own, whatever source they come from."""
        return self._found(
            indices, columns, lambda source, rows, wanted: self._readers[source].read(rows, wanted, counts)
        )

    @cached_property
    def _readers(self) -> list[SlowRecords]:
        """The sources; those that are views of mapped files are paged in."""
        return [each if isinstance(each, SlowRecords) else PagedIn(each) for each in self._records]

    def _found(
        self,
        indices: IntArray,
        columns: Collection[str],
        look_up: Callable[[int, IntArray, Collection[str]], Found],
    ) -> Found:
        """What `look_up(source, rows, columns)` returns for the sources that have some of the records, as one."""

        def of_source(number: int, rows: IntArray) -> Found:
            if number not in self._unweighted or "weights" not in columns:
                return self._renumbered(number, look_up(number, rows, columns))
            wanted = {name for name in columns if name != "weights"} | ({"spans"} & self._unweighted[number])
            found = _weighed(self._renumbered(number, look_up(number, rows, wanted)))
            return found._replace(columns={name: found.columns[name] for name in columns if name in found.columns})

        sources, rows = self.locate(indices)
        parts = [(places, of_source(number, rows[places])) for number, places in places_by_home(sources)]
        if not parts:
            return of_source(0, indices)
        return Found.merged(len(indices), parts)._replace(record_ids=rows + self._bases[sources])

    def _renumbered(self, source: int, found: Found) -> Found:
        """The same with the numbers that strings have in the mixture."""
        columns = dict(found.columns)
        for name in columns.keys() & self._texts.keys():
            rows = columns[name].joined()
            numbers = self._texts[name][source][rows.values]
            columns[name] = Scattered.of(Rows(numbers, rows.starts, rows.lengths))
        return found._replace(columns=columns)

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Return the records `indices: int64[B]` as a batch, with the `columns` asked for."""
        return self.find(indices, columns).batch()

    def unverified(self) -> list[Unverified]:
        """Return the files of all sources that were not hashed yet."""
        return [shard for records in self._of_files() for shard in records.unverified()]

    def mapped(self) -> Iterator[MappedFile]:
        """Return the files that the records of all sources were read from so far, unless they are trusted."""
        for records in self._of_files():
            yield from records.mapped()

    def _of_files(self) -> list[RecordsOfFiles]:
        return [records for records in self._records if isinstance(records, RecordsOfFiles)]

    def locate(self, indices: IntArray) -> tuple[IntArray, IntArray]:
        """Return the number of each record's source, and its number in that source: int64[M] both.

        Beyond the whole epochs of a source its records are a part of it, another one each epoch.

        Args:
            indices: The records: int64[M].
        """
        sources = np.searchsorted(self._begins, indices, side="right") - 1
        turns, rows = np.divmod(indices - self._begins[sources], self._sizes[sources])
        chosen = np.flatnonzero(turns == self._whole[sources])
        rows[chosen] = self._choice.at(sources[chosen], rows[chosen])
        return sources, rows


def _weighed(found: Found) -> Found:
    """The same records, each of whose spans weighs 1."""
    spans = found.columns.get("spans")
    counts = np.zeros(len(found.record_ids), np.int64) if spans is None else spans.lengths // 2
    ones = Rows(np.ones(int(counts.max(initial=0)), np.float32), np.zeros_like(counts), counts)
    return found._replace(columns={**found.columns, "weights": Scattered.of(ones)})
