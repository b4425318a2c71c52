"""Files of JSON Lines: one object a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Bad, Chunk, Item, Origin
from fastcollate.sources.formats.json_values import UnreadableError, load_all, load_each, load_lines
from fastcollate.sources.formats.line_batches import Lines, line_batches
from fastcollate.sources.formats.not_records import JSON_RULE
from fastcollate.storage.compressed import ByteStream

__all__ = ["json_lines"]

_HINTS = (  # what a line that is no JSON looks like, and what helps
    (rb"\s*<", "it looks like an HTML page"),
    (rb"\x1e", "it begins with a record separator, as JSON text sequences do: take them out by tr -d '\\036'"),
    (rb"\xef\xbb\xbf", "a byte order mark in the midst of a file, as where two files were joined: take it out"),
    (
        rb"\s*[{\[].*[}\]]\s*,\s*\Z",
        "a comma after the object, as in an array: take these out, by sed 's/,[[:space:]]*$//'",
    ),
    (rb".*[}\]]\r\s*[{\[]", "its lines end in CR alone: convert them by tr '\\r' '\\n'"),
    (rb"\s*\{\s*'", "it is Python's own notation, with single quotes: write it by json.dumps"),
    (rb"\s*\{.*\}\s*\{", "several objects stand on one line: part them, by jq -c ."),
)


def json_lines(stream: ByteStream, origin: Origin, start: int, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the records of JSON Lines, up to `size` lines at a time.

    Args:
        stream: The text, as UTF-8.
        origin: What messages call the lines.
        start: The offset of the stream's first byte in the file.
        size: The most lines of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: A line holds no record, and `skip` is False; or the file is one object that holds records.
        LimitError: A line is too large, and `skip` is False.
    """
    for batch in line_batches(stream, size, start):
        values = None if batch.large or batch.text.isspace() else load_lines(batch.text)
        items: Sequence[Item] = _items(batch, origin) if values is None else values
        yield Chunk.of(origin, batch.first, items, skip=skip)


def _items(batch: Lines, origin: Origin) -> Sequence[Item]:
    """What each line holds, where they are not all flat objects."""
    if batch.large:
        return [batch.too_large(origin)]
    lines = batch.lines()
    if batch.text.isspace():
        return [None] * len(lines)
    values = load_all(lines, batch.text)
    if values is not None and set(map(type, values)) == {dict}:
        return values
    found: list[Item] = [None] * len(lines)
    full = [i for i, line in enumerate(lines) if line and not line.isspace()]
    for i, value in zip(full, load_each([lines[i] for i in full]), strict=True):
        row = batch.first + i
        if isinstance(value, UnreadableError):
            offset = batch.start + sum(map(len, lines[:i])) + i
            found[i] = Bad(_error(origin, row, lines[i], value, offset), lines[i])
        else:
            found[i] = value if isinstance(value, dict) else origin.record(row, value)
    return found


def _error(origin: Origin, row: int, line: bytes, why: UnreadableError, start: int) -> InputError:
    """The error for a line that is no JSON, or holds what is not read."""
    hint = next((hint for looks, hint in _HINTS if re.match(looks, line, re.DOTALL)), None)
    if why.reason == "not_json" and hint:
        return origin.error(row, f"not JSON ({hint}): {JSON_RULE}", "not_json")
    if why.reason == "not_utf8":
        return origin.not_utf8(row, start + (why.at or 0))
    if why.reason != "not_json":
        return origin.error(row, str(why), why.reason)
    column = "" if why.at is None else f", column {len(line[: why.at].decode(errors='replace')) + 1}"
    message = f"{origin.at(row)}{column}: not JSON ({why}): {JSON_RULE}"
    return InputError(message, path=origin.path, row=origin.number(row), reason="not_json")
