"""What a source is, and how several of them are read one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from fastcollate.errors import InputError, LimitError
from fastcollate.sources.chunk import Chunk, Origin, Rejected, reason_of

__all__ = ["WHOLE", "Part", "Source", "part_chunks", "read_chunks"]


class Part(NamedTuple):
    """Some consecutive rows of a source, told in what it can find them by: bytes, row groups, batches or rows.

    Attributes:
        start: The first one.
        stop: The one after the last; None is the source's end.
    """

    start: int
    stop: int | None


WHOLE = Part(0, None)


class Source(Protocol):
    """One file, table or iterable of records."""

    @property
    def name(self) -> str:
        """What messages call the source."""
        ...

    def fingerprint(self) -> str | None:
        """Return what changes when the content does; None where nothing can tell."""
        ...

    def size(self) -> int:
        """Return about how many bytes of records there are; 0 where nobody knows."""
        ...

    def parts(self, size: int) -> list[Part]:
        """Return parts of about `size` bytes that make the whole, in order: a function of the content alone."""
        ...

    def chunks(self, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
        """Yield the rows of a part in order, up to `size` at a time, counted from 0 in the part.

        Errors, and `Chunk.origin`, name rows as they are in the source. What is wrong with the whole file is an
        error with `skip` as without.
        """
        ...


def read_chunks(sources: Iterable[Source], *, size: int = 4096, skip: bool = False) -> Iterator[Chunk]:
    """Yield the records of all sources in order, each chunk from one source.

    Rows of the source are counted on from source to source, whether they hold records or not.

    Args:
        sources: What `resolve` found.
        size: The most rows of a chunk.
        skip: True names rows that hold no record and passes over them, False raises an error. A file that is
            broken or empty is passed over as row -1, unless it is the only one.

    Raises:
        InputError: A source is unreadable, damaged, not UTF-8, of no format that is read or without records, or
            holds something that is no record.
        LimitError: A source or a record is too large.

    >>> from fastcollate.sources.resolve import resolve
    >>> chunks = read_chunks(resolve([{"text": "a"}, {"text": "b"}, {"text": "c"}]), size=2)
    >>> [chunk.records for chunk in chunks]
    [[{'text': 'a'}, {'text': 'b'}], [{'text': 'c'}]]
    """
    sources = list(sources)
    base = 0
    for source in sources:
        stop = 0
        for chunk in part_chunks(source, WHOLE, size=size, skip=skip, alone=len(sources) == 1):
            stop = chunk.stop
            if chunk.records or chunk.rejected:
                yield replace(chunk, base=base)
        base += stop


def part_chunks(source: Source, part: Part, *, size: int, skip: bool, alone: bool) -> Iterator[Chunk]:
    """Yield the chunks of a part; the last may say what keeps the rest of a file from being read.

    Args:
        source: The source.
        part: One of its parts.
        size: The most rows of a chunk.
        skip: True passes over what is wrong and names it, False raises an error.
        alone: True raises what is wrong with the whole file in any case, since there is no other to go on with.

    Raises:
        InputError: As `Source.chunks`.
        LimitError: As `Source.chunks`.
    """
    stop = 0
    try:
        for chunk in source.chunks(part, size=size, skip=skip):
            stop = chunk.stop
            yield chunk
    except (InputError, LimitError) as error:
        reason = reason_of(error)
        if not skip or alone or reason == "no_download":  # which is the network's fault: the next try may succeed
            raise
        read = f"; the {stop} rows before were read" if stop else ""
        rejected = [Rejected(-1, reason, f"{error}{read}", None)]
        yield Chunk(Origin(source.name), np.zeros(0, np.int64), [], rejected, stop)
