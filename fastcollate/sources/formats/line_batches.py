"""Lines of a stream, many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fastcollate.errors import LimitError
from fastcollate.sources.chunk import MOST_BYTES, Bad, Origin
from fastcollate.storage.compressed import ByteStream

__all__ = ["BLOCK_BYTES", "Large", "Lines", "line_batches", "too_large"]

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Large:
    """A line that was passed over, since it has more than 64 MiB."""

    size: int

    def __len__(self) -> int:
        return self.size


class Lines(NamedTuple):
    """Consecutive lines.

    Attributes:
        first: The number of the first one, from 0.
        start: The offset of its first byte.
        lines: The lines, without the line feeds that end them.
    """

    first: int
    start: int
    lines: list[bytes | Large]

    def offset(self, i: int) -> int:
        """Return the offset of the first byte of line `i` of these."""
        return self.start + sum(map(len, self.lines[:i])) + i


def line_batches(stream: ByteStream, size: int, start: int = 0) -> Iterator[Lines]:
    r"""Yield the lines of a stream, `size` at a time; only a line feed ends a line.

    Args:
        stream: The bytes.
        size: The most lines that are yielded at a time.
        start: The offset of the stream's next byte in the file.

    >>> from io import BytesIO
    >>> [batch.lines for batch in line_batches(ByteStream(BytesIO(b"a\nb\r\n\nc").read), 3)]
    [[b'a', b'b\r', b''], [b'c']]
    """
    first, held = 0, list[bytes | Large]()
    for lines in _lines(stream):
        held += lines
        done = 0
        while len(held) - done >= size:
            batch = Lines(first, start, held[done : done + size])
            yield batch
            first, start, done = first + size, batch.offset(size), done + size
        held = held[done:]
    if held:
        yield Lines(first, start, held)


def _lines(stream: ByteStream) -> Iterator[list[bytes | Large]]:
    """The lines that end in each block, and the last one."""
    begun, size = list[bytes](), 0  # the line that has not ended yet
    while block := stream.read(BLOCK_BYTES):
        lines: list[bytes | Large] = list(block.split(b"\n"))
        size += len(lines[0])
        begun = [*begun, block[: len(lines[0])]] if size <= MOST_BYTES else []
        if len(lines) == 1:
            continue
        lines[0] = b"".join(begun) if size <= MOST_BYTES else Large(size)
        last = block[block.rindex(b"\n") + 1 :]
        begun, size = [last], len(last)
        yield lines[:-1]
    if size:
        yield [b"".join(begun) if size <= MOST_BYTES else Large(size)]


def too_large(origin: Origin, row: int, size: int) -> Bad:
    """Return what is wrong with a line that is too large."""
    return Bad(
        LimitError(
            f"{origin.at(row)}: has {size >> 20} MiB, and a record at most {MOST_BYTES >> 20}: cut it into "
            "several records, or leave it out"
        )
    )
