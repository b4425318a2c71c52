"""How work is cut into tasks: by the sources alone, never by who works on them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Chunk
from fastcollate.sources.source import WHOLE, Part, Source, part_chunks

__all__ = ["Piece", "Reading", "Task", "cut_into_tasks"]

_LEAST_BYTES, _MOST_BYTES = 1 << 23, 1 << 27
_SHARE = 128  # of all there is to read: little is lost with a task that is broken off


class Piece(NamedTuple):
    """Some rows of a source.

    Attributes:
        source: The source.
        part: Which of its rows.
        mark: The fingerprint that the source has as long as it is the same; None where nothing can tell.
    """

    source: Source
    part: Part
    mark: str | None


class Task(NamedTuple):
    """What becomes shards of its own.

    Attributes:
        number: The number of the task, from 0.
        pieces: What is read for it: one part of a source, or several whole ones.
        bytes: About how many bytes that is; 0 where nobody knows.
        keys: What tells each piece from any other, in this state of its source.
    """

    number: int
    pieces: tuple[Piece, ...]
    bytes: int
    keys: tuple[str, ...]


def cut_into_tasks(sources: Sequence[Source], labels: Mapping[str, str]) -> list[Task]:
    """Return the tasks of some sources, in order.

    Each has about one 128th of all bytes, but 8 to 128 MiB; a source that cannot be parted is whole in one. What
    can be read only once makes one task of all.

    Args:
        sources: The sources.
        labels: What each is called where machines are no matter, by its name; the name itself if it is not there.

    Raises:
        InputError: A source is unreadable.

    >>> from fastcollate.sources.resolve import resolve
    >>> [(len(task.pieces), task.bytes) for task in cut_into_tasks(resolve([{"text": "a"}]), {})]
    [(1, 0)]
    """
    marks = [source.fingerprint() for source in sources]
    if None in marks:
        return [Task(0, tuple(Piece(source, WHOLE, None) for source in sources), 0, ())]
    sizes = [source.size() for source in sources]
    most = min(max(_power_of_two(sum(sizes) // _SHARE), _LEAST_BYTES), _MOST_BYTES)
    found: list[list[tuple[Piece, int, str]]] = [[]]
    for source, mark, size in zip(sources, marks, sizes, strict=True):
        parts = source.parts(most) if size > most else [WHOLE]
        for part in parts:
            if len(parts) > 1 or sum(weight for _, weight, _ in found[-1]) + size > most:
                found.append([])
            key = f"{labels.get(source.name, source.name)} {mark} {part.start} {part.stop}"
            found[-1].append((Piece(source, part, mark), size // len(parts), key))
        if len(parts) > 1:
            found.append([])
    return [
        Task(
            number, tuple(piece for piece, _, _ in some), sum(w for _, w, _ in some), tuple(k for _, _, k in some)
        )
        for number, some in enumerate(filter(None, found))
    ]


def _power_of_two(size: int) -> int:
    """Return the greatest one that is not larger."""
    return 1 << max(size.bit_length() - 1, 0)


class Reading:
    """The chunks of some pieces, one after another, and how much they were so far.

    Args:
        pieces: What is read.
        skip: True names rows that hold no record and passes over them, False raises an error.
        alone: True if there is no other source, so that what is wrong with the whole file is an error in any case.

    Attributes:
        rows: The rows so far, also those without a record.
        records: The records so far.
        seconds: The seconds that reading took so far.
    """

    def __init__(self, pieces: Iterable[Piece], *, skip: bool, alone: bool) -> None:
        self.rows = self.records = 0
        self.seconds = 0.0
        self._pieces = pieces
        self._skip = skip
        self._alone = alone

    def chunks(self, size: int = 4096) -> Iterator[Chunk]:
        """Yield the chunks that hold something, of up to `size` rows: `base` counts the rows before their piece.

        Raises:
            InputError: As `Source.chunks`, or a file was changed since work began.
            LimitError: As `Source.chunks`.
        """
        for source, part, mark in self._pieces:
            base = self.rows
            for chunk in self._timed(part_chunks(source, part, size=size, skip=self._skip, alone=self._alone)):
                self.rows = base + chunk.stop
                self.records += len(chunk.records)
                if chunk.records or chunk.rejected:
                    yield replace(chunk, base=base)
            if mark is not None and source.fingerprint() != mark:
                raise InputError(
                    f"{source.name}: was changed while it was read: what is made of it would be of two minds; let "
                    "nobody write there, then prepare it again",
                    path=source.name,
                    reason="changed",
                )

    def _timed(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield the same, and count the seconds that each was waited for."""
        begun = time.perf_counter()
        for chunk in chunks:
            self.seconds += time.perf_counter() - begun
            yield chunk
            begun = time.perf_counter()
        self.seconds += time.perf_counter() - begun
