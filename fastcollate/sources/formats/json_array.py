"""Files of one JSON array, read element by element however large the array is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastcollate.errors import InputError, LimitError
from fastcollate.sources.chunk import CHUNK_BYTES, MOST_BYTES, Bad, Chunk, Item, Origin
from fastcollate.sources.formats.json_values import UnreadableError, load_each, load_elements
from fastcollate.sources.formats.line_batches import more_bytes
from fastcollate.sources.formats.not_records import JSON_RULE
from fastcollate.storage.compressed import ByteStream

__all__ = ["json_array"]

_BLOCK_BYTES = 1 << 22
_BLANKS = b" \t\r\n"
# A whole string, a mark outside strings, or the quote of a string that has not ended yet.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)
_NEXT_OBJECT = re.compile(rb'\s*,\s*\{\s*(?:"[^"\\]*")?')


def json_array(stream: ByteStream, origin: Origin, start: int, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the records of a JSON array, up to `size` at a time.

    Args:
        stream: The text, as UTF-8; its first character that is no blank is a bracket.
        origin: What messages call the records.
        start: The offset of the stream's first byte in the file.
        size: The most records of a chunk.
        skip: As `Chunk.of`; what breaks the array is an error in any case.

    Raises:
        InputError: The array is cut short or no JSON, or an element is no record, and `skip` is False.
        LimitError: An element is too large.
    """
    first, held, array = 0, list[Item](), _Array(stream, origin, start)
    for items in array.batches():
        held += items
        done = 0
        while len(held) - done >= size:
            yield Chunk.of(origin, first, held[done : done + size], skip=skip)
            first, done = first + size, done + size
        held = held[done:]
        if array.offset - start >= CHUNK_BYTES and held:
            yield Chunk.of(origin, first, held, skip=skip)
            first, held, start = first + len(held), [], array.offset
    if held:
        yield Chunk.of(origin, first, held, skip=skip)


class _Array:
    """The text of an array, and where in it the next element begins: behind the opening bracket or a comma.

    `_place` is its offset, line and column in the file, all from 0.
    """

    def __init__(self, stream: ByteStream, origin: Origin, start: int) -> None:
        self._stream, self._origin = stream, origin
        self._text, self._at, self._place = b"", 0, (start, 0, 0)
        self._row = 0
        self._next = b""  # how an object ends and the next begins, as the first two do
        self._one = True  # the next element is cut out alone, to try the others together again

    @property
    def offset(self) -> int:
        """Where in the file the next element begins."""
        return self._place[0]

    def batches(self) -> Iterator[list[Item]]:
        """Yield what the elements hold, some at a time."""
        self._more()
        self._take(self._text.index(b"[") + 1)
        ended = False
        while not ended:
            values = self._many()
            if set(map(type, values)) <= {dict}:
                yield values
            else:
                yield [self._origin.record(row, value) for row, value in enumerate(values, self._row)]
            self._row += len(values)
            pieces, ended = self._some()
            yield list(self._judged(pieces))

    def _many(self) -> list[Any]:
        """The next elements, as many as are surely whole: found by how the next object begins.

        What is read as an array between two brackets was cut between elements: a cut within an element, or a
        string, leaves it open.
        """
        end = self._text.rfind(self._next, self._at) + 1 if self._next else 0
        values = load_elements(self._text[self._at : end]) if end else None
        if values is None:
            self._one = False
            return []
        self._take(self._text.index(b",", end) + 1)
        return values

    def _some(self) -> tuple[list[tuple[bytes, tuple[int, int, int]]], bool]:
        """The next elements, cut out by their brackets, each with its place; and whether they are the last."""
        pieces: list[tuple[bytes, tuple[int, int, int]]] = []
        while True:
            end = self._end_of_element()
            if end is None:
                if pieces:
                    return pieces, False
                self._more_or_fail()
                continue
            closing = self._text[end : end + 1] == b"]"
            piece = self._text[self._at : end]
            if piece.strip(_BLANKS) or not closing or self._row or pieces:  # but for an empty array
                pieces.append((piece, self._place))
            self._learn(piece, end)
            self._take(end + 1)
            if closing:
                self._check_rest()
            if closing or self._one:
                return pieces, closing

    def _learn(self, piece: bytes, end: int) -> None:
        """Note how an object ends and the next begins."""
        bare = piece.rstrip(_BLANKS)
        if not self._next and bare.endswith(b"}") and (found := _NEXT_OBJECT.match(self._text, end)):
            self._next = piece[len(bare) - 1 :] + found[0]

    def _judged(self, pieces: list[tuple[bytes, tuple[int, int, int]]]) -> Iterator[Item]:
        for (piece, place), value in zip(pieces, load_each([piece for piece, _ in pieces]), strict=True):
            if not isinstance(value, UnreadableError):
                yield self._origin.record(self._row, value)
            elif value.reason == "not_json" and value.at is not None:
                raise self._broken(str(value), piece[: value.at], place)
            elif value.reason == "not_utf8":
                yield Bad(self._origin.not_utf8(self._row, place[0] + (value.at or 0)), piece)
            else:
                message = f"not JSON ({value}): {JSON_RULE}" if value.reason == "not_json" else str(value)
                yield Bad(self._origin.error(self._row, message, value.reason), piece)
            self._row += 1

    def _end_of_element(self) -> int | None:
        """Where the comma or the bracket after the next element is; None where the text ends before."""
        depth = 0
        for token in _TOKEN.finditer(self._text, self._at):
            mark = self._text[token.start()]
            if mark in b"[{":
                depth += 1
            elif not depth and mark in b",]":
                return token.start()
            elif mark in b"]}":
                depth -= 1
            elif mark == b'"'[0] and token.end() == token.start() + 1:
                return None
        return None

    def _more(self) -> bool:
        rest = self._text[self._at :]
        block = self._stream.read(more_bytes(_BLOCK_BYTES, rest))
        self._text, self._at, self._one = rest + block, 0, True
        return bool(block)

    def _more_or_fail(self) -> None:
        if len(self._text) - self._at > MOST_BYTES:
            raise LimitError(
                f"{self._origin.at(self._row)}: has more than {MOST_BYTES >> 20} MiB, the most of a record: cut "
                "it into several records, or leave it out"
            )
        if not self._more():
            end = self._place[0] + len(self._text) - self._at
            raise InputError(
                f"{self._origin.path}: the JSON array is cut short at byte {end} of the file, in or after record "
                f"{self._row}: copy or download the file again",
                path=self._origin.path,
                reason="damaged",
            )

    def _take(self, end: int) -> None:
        self._place = _moved(self._place, self._text[self._at : end])
        self._at = end

    def _check_rest(self) -> None:
        while not (rest := self._text[self._at :]).strip(_BLANKS):
            self._take(len(self._text))
            if not self._more():
                return
        blanks = rest[: len(rest) - len(rest.lstrip(_BLANKS))]
        raise self._broken("Extra data after the array", blanks, self._place)

    def _broken(self, why: str, before: bytes, place: tuple[int, int, int]) -> InputError:
        """The error that the text is no JSON after `before`, which is at that place."""
        offset, line, column = _moved(place, before)
        message = (
            f"{self._origin.path}, line {line + 1}, column {column + 1}: not JSON ({why}, at byte {offset} of the "
            f"file): {JSON_RULE}"
        )
        return InputError(message, path=self._origin.path, row=line + 1, reason="not_json")


def _moved(place: tuple[int, int, int], text: bytes) -> tuple[int, int, int]:
    """The offset, line and column, in characters, after some text."""
    offset, line, column = place
    last = text.rfind(b"\n") + 1
    column = (0 if last else column) + len(text[last:].decode(errors="ignore"))
    return offset + len(text), line + text.count(b"\n"), column
