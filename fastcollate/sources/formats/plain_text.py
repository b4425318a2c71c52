"""Plain text: a document a line, the whole file, or whatever stands between separators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from fastcollate.errors import LimitError
from fastcollate.sources.chunk import MOST_BYTES, Bad, Chunk, Item, Origin
from fastcollate.sources.formats.line_batches import BLOCK_BYTES, Lines, line_batches, more_bytes
from fastcollate.storage.compressed import ByteStream

__all__ = ["text_documents", "text_lines"]


def text_lines(stream: ByteStream, origin: Origin, start: int, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield a record `{"text": ...}` for each line that is not blank, without the end of the line.

    Args:
        stream: The text, as UTF-8.
        origin: What messages call the lines.
        start: The offset of the stream's first byte in the file.
        size: The most lines of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: A line is not UTF-8, and `skip` is False.
        LimitError: A line is too large, and `skip` is False.
    """
    for batch in line_batches(stream, size, start):
        items = [batch.too_large(origin)] if batch.large else _lines(batch, origin)
        yield Chunk.of(origin, batch.first, items, skip=skip)


def _lines(batch: Lines, origin: Origin) -> list[Item]:
    try:
        lines = batch.text.decode().split("\n")
    except UnicodeDecodeError:
        items, start = list[Item](), batch.start
        for row, line in enumerate(batch.lines(), batch.first):
            items.append(_document(origin, row, line.removesuffix(b"\r"), start))
            start += len(line) + 1
        return items
    whole = lines if lines[-1] else lines[:-1]
    return [{"text": line.removesuffix("\r")} if line and not line.isspace() else None for line in whole]


def text_documents(
    stream: ByteStream, origin: Origin, start: int, separator: str | None, *, size: int, skip: bool
) -> Iterator[Chunk]:
    """Yield a record `{"text": ...}` for the text between separators, each if it is not blank.

    Args:
        stream: The text, as UTF-8.
        origin: What messages call the documents.
        start: The offset of the stream's first byte in the file.
        separator: The text that parts documents; None makes the whole file one.
        size: The most documents of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: A document is not UTF-8, and `skip` is False.
        LimitError: A document is too large.
    """
    items = _documents(stream, origin, start, separator)
    first = 0
    while batch := list(islice(items, size)):
        chunk = Chunk.of(origin, first, batch, skip=skip)
        first = chunk.stop
        yield chunk


def _documents(stream: ByteStream, origin: Origin, start: int, separator: str | None) -> Iterator[Item]:
    mark = None if separator is None else re.compile(re.escape(separator).replace("\\\n", "\r?\n").encode())
    text, row, ended = b"", 0, False
    while not ended:
        block = stream.read(more_bytes(BLOCK_BYTES, text))
        ended, text, at = not block, text + block, 0
        # A separator is at most so long: what may be the beginning of one waits for the next block.
        safe = len(text) if ended or separator is None else len(text) - 2 * len(separator.encode())
        while mark is not None and (found := mark.search(text, at)) and (ended or found.end() <= safe):
            yield _document(origin, row, text[at : found.start()], start + at)
            row, at = row + 1, found.end()
        start, text = start + at, text[at:]
        if len(text) > MOST_BYTES:
            raise LimitError(
                f"{origin.at(row)}: has more than {MOST_BYTES >> 20} MiB, the most of a document: part it by "
                'the format "text" (a document a line) or "text:SEPARATOR"'
            )
    if text:
        yield _document(origin, row, text, start)


def _document(origin: Origin, row: int, text: bytes, start: int) -> Item:
    try:
        return {"text": text.decode()} if text and not text.isspace() else None
    except UnicodeDecodeError as error:
        return Bad(origin.not_utf8(row, start + error.start), text)
