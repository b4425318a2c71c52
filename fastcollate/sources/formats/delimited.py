"""CSV and TSV: a header, and a record a row; values are the text that was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from fastcollate.errors import InputError, LimitError
from fastcollate.sources.chunk import CHUNK_BYTES, MOST_BYTES, Bad, Chunk, Item, Origin
from fastcollate.sources.formats.line_batches import BLOCK_BYTES, more_bytes
from fastcollate.storage.compressed import ByteStream

__all__ = ["delimited"]

_HINT = 'close it, write a quote within a quoted field twice (""), or quote the whole field'
_QUOTED = re.compile(rb'"[^"]*+"')
_NAMED = re.compile(rb'"?sep=([,;\t|])"?\r?\n')


class _Row(NamedTuple):
    line: int  # from 1
    start: int  # the byte of the file at which it begins
    cells: list[bytes]


def delimited(stream: ByteStream, origin: Origin, delimiter: str, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of a file of delimited values, as many as a chunk has; the first line names the columns.

    A field may stand in double quotes, and hold delimiters, line breaks and doubled quotes then. Blank lines are
    passed over, and are no rows.

    Args:
        stream: The text, as UTF-8.
        origin: What messages call the file.
        delimiter: What stands between two fields; where it is a comma and the header has none, the header
            tells, or a line `sep=;` before it.
        size: The most rows of a chunk.
        skip: As `Chunk.of`; what breaks the quoting is an error in any case, since no row after it can be told.

    Raises:
        InputError: The header is not usable, a quote is not closed, or a row has another number of fields than
            the header, or is not UTF-8, and `skip` is False.
        LimitError: A row is too large.
    """
    head = stream.peek(BLOCK_BYTES)
    named = _NAMED.match(head)  # as Excel wants it
    if named:
        stream.read(named.end())
        rows = _rows(stream, origin, named[1].decode(), 2)
    else:
        rows = _rows(stream, origin, _told_by_header(head, delimiter), 1)
    header = next(rows, None)
    if header is None:
        return
    names = _names(header, origin)
    first = 0
    for batch in _batches(rows, size):
        here = Origin(origin.path, "line", lines=(first, [row.line for row in batch]))
        items = [_record(here, first + i, names, row) for i, row in enumerate(batch)]
        yield Chunk.of(here, first, items, skip=skip)
        first += len(batch)


def _batches(rows: Iterator[_Row], size: int) -> Iterator[list[_Row]]:
    """The rows, up to `size` and about 4 MiB at a time."""
    batch = list[_Row]()
    for row in rows:
        batch.append(row)
        if len(batch) == size or row.start - batch[0].start >= CHUNK_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _names(header: _Row, origin: Origin) -> list[str]:
    try:
        names = [cell.decode() for cell in header.cells]
    except UnicodeDecodeError as error:
        raise _error(origin, header.line, "the header is not UTF-8: save the file as UTF-8", "not_utf8") from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f'the header names the column "{twice}" twice: rename one of the two'
        raise _error(origin, header.line, message, "duplicate_key")
    return names


def _record(origin: Origin, row: int, names: list[str], found: _Row) -> Item:
    cells = found.cells
    if len(cells) != len(names):
        message = f"has {len(cells)} fields, and the header {len(names)}: quote fields that hold the delimiter"
        return Bad(origin.error(row, message, "ragged"), _shown(cells))
    try:
        return dict(zip(names, [cell.decode() for cell in cells], strict=True))
    except UnicodeDecodeError:
        where = f"the row that begins at byte {found.start} of the file"
        return Bad(origin.error(row, f"not UTF-8 in {where}: save it as UTF-8", "not_utf8"), _shown(cells))


def _shown(cells: list[bytes]) -> list[str]:
    return [cell.decode(errors="backslashreplace") for cell in cells]


def _told_by_header(head: bytes, delimiter: str) -> str:
    r"""Return the delimiter: a semicolon or a tab where the header has that and no comma, as Excel may write.

    >>> _told_by_header(b'a;"b,c";d\n1;2;3\n', ","), _told_by_header(b"a,b;c\n", ",")
    (';', ',')
    """
    line = _QUOTED.sub(b"", head.lstrip()).partition(b"\n")[0]
    found = [mark for mark in (";", "\t") if mark.encode() in line]
    return found[0] if delimiter == "," and b"," not in line and len(found) == 1 else delimiter


def _rows(stream: ByteStream, origin: Origin, delimiter: str, line: int) -> Iterator[_Row]:
    """The rows that are not blank, the header's first."""
    mark = re.escape(delimiter.encode())
    # A field, quoted or not, and what ends it.
    field = re.compile(rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"%b\r\n][^%b\r\n]*+|))(%b|\r?\n)' % (mark, mark, mark))
    text, start, ended = b"", stream.offset, False
    while not ended:
        block = stream.read(more_bytes(BLOCK_BYTES, text))
        ended = not block
        text += block
        if ended and text and not text.endswith(b"\n"):
            text += b"\n"  # the last line's end may be left out
        at, cells = 0, list[bytes]()
        row_at = 0
        while found := field.match(text, at):
            quoted, plain, end = found.groups()
            cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
            at = found.end()
            if end != delimiter.encode():
                if len(cells) > 1 or cells[0] or quoted is not None:
                    yield _Row(line, start + row_at, cells)
                line += text.count(b"\n", row_at, at)
                row_at, cells = at, []
        text, at, start = text[row_at:], at - row_at, start + row_at
        _check_broken(text, at, line, origin, ended=ended)


def _check_broken(text: bytes, at: int, line: int, origin: Origin, *, ended: bool) -> None:
    """Check that the row which has not ended may still end, given more text."""
    line += text.count(b"\n", 0, at)
    if text[at : at + 1] == b'"':
        inside = re.compile(rb'"[^"]*+(?:""[^"]*+)*+').match(text, at)
        closed = inside is not None and text[inside.end() : inside.end() + 1] == b'"'
        if closed and inside is not None and (ended or len(text) > inside.end() + 2):
            raise _error(origin, line, f"text follows the quote that closes a field: {_HINT}", "bad_quote")
        if ended:
            raise _error(origin, line, f"a quote opens a field and is never closed: {_HINT}", "bad_quote")
    elif ended and text:
        raise _error(
            origin, line, "a carriage return stands alone: convert line ends by tr '\\r' '\\n'", "bad_quote"
        )
    if len(text) > MOST_BYTES:
        raise LimitError(
            f"{origin.path}, line {line}: the row has more than {MOST_BYTES >> 20} MiB, the most of a record: "
            f"a quote may be missing: {_HINT}"
        )


def _error(origin: Origin, line: int, message: str, reason: str) -> InputError:
    return InputError(f"{origin.path}, line {line}: {message}", path=origin.path, row=line, reason=reason)
