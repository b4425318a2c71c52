"""Iterables of dicts as a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from fastcollate.sources.chunk import Chunk, Origin

__all__ = ["GivenRecords"]


@dataclass(frozen=True, slots=True)
class GivenRecords:
    """Records that the caller holds or makes; a generator is read as it goes.

    >>> [chunk.records for chunk in GivenRecords([{"text": "a"}]).chunks(size=8, skip=False)]
    [[{'text': 'a'}]]
    """

    values: Iterable[object]
    name: str = "the given iterable"

    def chunks(self, *, size: int, skip: bool) -> Iterator[Chunk]:
        """Yield the records, up to `size` at a time."""
        origin, values, first = Origin(None), iter(self.values), 0
        for batch in iter(lambda: list(islice(values, size)), []):
            items = [origin.record(row, value) for row, value in enumerate(batch, first)]
            yield Chunk.of(origin, first, items, skip=skip)
            first += len(batch)
