"""What a source is, and how several of them are read one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from fastcollate.sources.chunk import Chunk

__all__ = ["Source", "read_chunks"]


class Source(Protocol):
    """One file or iterable of records."""

    @property
    def name(self) -> str:
        """What messages call the source."""
        ...

    def chunks(self, *, size: int, skip: bool) -> Iterator[Chunk]:
        """Yield the rows in order, up to `size` at a time, as `Chunk.of` judges them."""
        ...


def read_chunks(sources: Iterable[Source], *, size: int = 1024, skip: bool = False) -> Iterator[Chunk]:
    """Yield the records of all sources in order, each chunk from one source.

    Rows of the source are counted on from source to source, whether they hold records or not.

    Args:
        sources: What `resolve` found.
        size: The most rows of a chunk.
        skip: True counts rows that hold no record and passes over them, False raises an error.

    Raises:
        InputError: A source is unreadable, not UTF-8, not JSON or without records, or holds something that is
            no object.

    >>> from fastcollate.sources.resolve import resolve
    >>> chunks = read_chunks(resolve([{"text": "a"}, {"text": "b"}, {"text": "c"}]), size=2)
    >>> [chunk.records for chunk in chunks]
    [[{'text': 'a'}, {'text': 'b'}], [{'text': 'c'}]]
    """
    base = 0
    for source in sources:
        stop = 0
        for chunk in source.chunks(size=size, skip=skip):
            stop = chunk.stop
            if chunk.records or chunk.rejected:
                yield replace(chunk, base=base)
        base += stop
