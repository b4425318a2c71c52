"""A file opened for reading: decompressed, as UTF-8, told apart, and cut into parts where it can be."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fastcollate.sources.encodings import as_utf8
from fastcollate.sources.sniff import HEAD_BYTES, Kind, is_columnar, sniff
from fastcollate.sources.source import WHOLE, Part
from fastcollate.storage.compressed import ByteStream, decompressed

__all__ = ["LinesBefore", "Opened", "line_parts", "spooled"]

_COUNTED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Opened:
    """What is read of a file, and how.

    Attributes:
        stream: The bytes: decompressed, and as UTF-8 without a byte order mark where they are text.
        kind: What the file is.
        start: The offset of the stream's first byte in the file.
        plain: True where the bytes of the stream are those of the file.
    """

    stream: ByteStream
    kind: Kind
    start: int
    plain: bool

    @classmethod
    def of(cls, file: BinaryIO, name: str, wanted: str | None) -> Opened:
        """Return a file, opened.

        Args:
            file: The file, at its start.
            name: What messages call the file.
            wanted: The format that the caller names; None is told by the content and the name.

        Raises:
            InputError: The file is damaged, or of a kind that is not read.
        """
        stream, compression = decompressed(ByteStream(file.read), name)
        same = True
        if not is_columnar(stream.peek(HEAD_BYTES)):
            stream, same = as_utf8(stream, name)
        kind = sniff(stream.peek(HEAD_BYTES), name, wanted)
        return cls(stream, kind, stream.offset if same else 0, same and compression is None)

    def within(self, file: BinaryIO, part: Part) -> Opened:
        """Return the part of a plain file from one byte to another."""
        start = max(part.start, self.start)
        file.seek(start)
        read = file.read if part.stop is None else _Limited(file, part.stop - start).read
        return replace(self, stream=ByteStream(read), start=start)


@dataclass(slots=True)
class _Limited:
    """The next bytes of a file, up to so many."""

    file: BinaryIO
    left: int

    def read(self, size: int) -> bytes:
        block = self.file.read(min(size, self.left))
        self.left -= len(block)
        return block


@dataclass(frozen=True, slots=True)
class LinesBefore:
    """How many lines end in a file before a byte, counted when somebody asks: for a message."""

    lent: Callable[[], AbstractContextManager[BinaryIO]]
    stop: int

    def __call__(self) -> int:
        """Return the number."""
        with self.lent() as file:
            blocks = iter(lambda: file.read(min(_COUNTED_BYTES, self.stop - file.tell())), b"")
            return sum(block.count(b"\n") for block in blocks)


def line_parts(file: BinaryIO, size: int) -> list[Part]:
    r"""Return byte ranges that begin where lines do: the first at or after each multiple of `size`.

    >>> from io import BytesIO
    >>> line_parts(BytesIO(b"aa\nbbbb\nc\n"), 4)
    [Part(start=0, stop=8), Part(start=8, stop=None)]
    """
    total = file.seek(0, os.SEEK_END)
    starts = [0]
    at = size
    while at < total:
        file.seek(at - 1)  # a line that begins at the multiple itself is the next one
        while (block := file.readline(_COUNTED_BYTES)) and not block.endswith(b"\n"):
            pass
        start = file.tell()
        if not block or start >= total:
            break
        starts.append(start)
        at = (start // size + 1) * size
    stops: list[int | None] = [*starts[1:], None]
    return [Part(start, stop) for start, stop in zip(starts, stops, strict=True)] if total else [WHOLE]


@contextmanager
def spooled(stream: ByteStream) -> Iterator[Path]:
    """Lend a file with what a stream holds: some formats are read from their ends."""
    handle, name = tempfile.mkstemp(prefix="fastcollate-")
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(stream.as_file(), file, _COUNTED_BYTES)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
