"""Lines of a stream, many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastcollate.errors import LimitError
from fastcollate.sources.chunk import CHUNK_BYTES, MOST_BYTES, Bad, Origin
from fastcollate.storage.compressed import ByteStream

__all__ = ["BLOCK_BYTES", "Lines", "line_batches", "more_bytes"]

BLOCK_BYTES = 1 << 20
_MOST_MORE = 1 << 24


class Lines(NamedTuple):
    """Consecutive lines, or one that is too large.

    Attributes:
        first: The number of the first one, from 0.
        start: The offset of its first byte.
        text: The lines, each with the line feed that ends it (the last may have none).
        large: The bytes of the line that has more than 64 MiB, and no text here; 0 where there is none.
    """

    first: int
    start: int
    text: bytes
    large: int = 0

    def lines(self) -> list[bytes]:
        """Return the lines without their line feeds."""
        lines = self.text.split(b"\n")
        return lines if lines[-1] else lines[:-1]

    def too_large(self, origin: Origin) -> Bad:
        """Return what is wrong with the line that is too large."""
        message = (
            f"{origin.at(self.first)}: has {self.large >> 20} MiB, and a record at most {MOST_BYTES >> 20}: cut "
            "it into several records, or leave it out"
        )
        return Bad(LimitError(message))


def more_bytes(block: int, held: bytes) -> int:
    """Return how many bytes to read on where a record has not ended in those that are held.

    As many again, so that looking through them anew each time costs no more than twice, and no more than 16 MiB.
    """
    return max(block, min(len(held), _MOST_MORE))


def line_batches(stream: ByteStream, size: int, start: int = 0) -> Iterator[Lines]:
    r"""Yield the lines of a stream, up to `size` and about 4 MiB at a time; only a line feed ends a line.

    Args:
        stream: The bytes.
        size: The most lines that are yielded at a time.
        start: The offset of the stream's next byte in the file.

    >>> from io import BytesIO
    >>> [batch.lines() for batch in line_batches(ByteStream(BytesIO(b"a\nb\r\n\nc").read), 3)]
    [[b'a', b'b\r', b''], [b'c']]
    """
    first, held, count, begun = 0, list[bytes](), 0, 0  # the blocks held, the lines that end there, what begins
    while block := stream.read(BLOCK_BYTES):
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        at = done = 0
        if begun + (int(ends[0]) if len(ends) else len(block)) > MOST_BYTES:
            if count:
                text = b"".join(held)
                text = text[: len(text) - begun]
                yield Lines(first, start, text)
                first, start = first + count, start + len(text)
            large, block = _passed_over(stream, begun, block)  # what follows the line
            yield Lines(first, start, b"", large)
            first, start, held, count, begun = first + 1, start + large + 1, [], 0, 0
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        while count + len(ends) - done >= size:
            done += size - count
            text = b"".join([*held, block[at : ends[done - 1]]])
            yield Lines(first, start, text)
            first, start, at, held, count = first + size, start + len(text), int(ends[done - 1]), [], 0
        held.append(block[at:])
        count += len(ends) - done
        begun = len(block) - int(ends[-1]) if len(ends) else begun + len(block)
        if count and sum(map(len, held)) >= CHUNK_BYTES:
            text = b"".join(held)
            whole = len(text) - begun
            yield Lines(first, start, text[:whole])
            first, start, held, count = first + count, start + whole, [text[whole:]], 0
    if any(held):
        yield Lines(first, start, b"".join(held))


def _passed_over(stream: ByteStream, size: int, block: bytes) -> tuple[int, bytes]:
    """The bytes of a line that is too large, of which `size` were read before, and what follows it."""
    while b"\n" not in block:
        size += len(block)
        block = stream.read(BLOCK_BYTES)
        if not block:
            return size, b""
    line, _, rest = block.partition(b"\n")
    return size + len(line), rest
