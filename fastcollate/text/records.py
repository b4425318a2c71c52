"""Sources of records: JSON arrays, JSON Lines, URLs and iterables of dicts, read chunk by chunk."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from fastcollate.errors import InputError
from fastcollate.storage.http import fetch

__all__ = ["Chunk", "read_chunks"]

_BOM = b"\xef\xbb\xbf"
_RULE = "a file holds one JSON array of objects, or JSON Lines: one object a line"
# A record or what is wrong with it, after its number: whether to raise or to count is decided in one place.
_Numbered = tuple[int, dict[str, Any] | InputError]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to `size` records of one source, with what an error needs to name them.

    Attributes:
        path: the file or URL; None for an iterable given by the caller.
        unit: what `numbers` count, "line" (from 1) or "record" (from 0).
        numbers: the number of each record in its source.
        records: the records; none if the source ended in rejected ones.
        rejected: how many were passed over on the way here, by reason (`on_error="skip"`).

    >>> Chunk("data.jsonl", "line", [17], [{"text": "a"}], {}).where(0)
    'data.jsonl, line 17'
    """

    path: str | None
    unit: Literal["line", "record"]
    numbers: list[int]
    records: list[dict[str, Any]]
    rejected: dict[str, int]

    def where(self, i: int) -> str:
        """The address of `records[i]`, for an error message."""
        return _address(self.path, self.unit, self.numbers[i])


def read_chunks(
    source: object, *, size: int = 1024, on_error: Literal["raise", "skip"] = "raise"
) -> Iterator[Chunk]:
    """Read records in order, up to `size` at a time, each chunk from one file.

    Args:
        source: a path, a glob pattern, an http(s) URL, a list of these, or an iterable of dicts. A file is
            read as what it contains, whatever its name: a JSON array of objects, or JSON Lines.
        size: records in a chunk.
        on_error: "skip" counts malformed lines and records that are no objects, and passes over them.

    Raises:
        InputError: a source is missing, unreadable, not UTF-8, not JSON or without records, or holds
            something that is no object. What is missing is reported at the call, the rest while reading.

    >>> [chunk.records for chunk in read_chunks([{"text": "a"}, {"text": "b"}, {"text": "c"}], size=2)]
    [[{'text': 'a'}, {'text': 'b'}], [{'text': 'c'}]]
    """
    if size < 1:
        raise InputError(f"size is {size}: a chunk holds at least 1 record")
    if on_error not in ("raise", "skip"):
        raise InputError(f'on_error is {on_error!r}: it must be "raise" or "skip"')
    skip = on_error == "skip"
    if isinstance(source, str | os.PathLike):
        return _read_files(_expand(source), size, skip=skip)
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | os.PathLike):
        paths = [path for i, item in enumerate(source) for path in _expand(_path_in_list(i, item))]
        return _read_files(paths, size, skip=skip)
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise InputError(
            f"the source is of type {type(source).__name__}: give a path, a glob, a URL, a list of these, "
            "or an iterable of dicts (one record alone goes in a list)",
            reason="bad_source",
        )
    return _cut(_checked(source, None), None, "record", size, skip=skip)


def _path_in_list(i: int, item: object) -> str | os.PathLike[str]:
    if isinstance(item, str | os.PathLike):
        return item
    raise InputError(
        f"item {i} of the list of sources is of type {type(item).__name__}, item 0 is a path: "
        "give paths only, or dicts only",
        row=i,
        reason="bad_source",
    )


def _expand(source: str | os.PathLike[str]) -> list[str]:
    """The files (or the URL) that one path, glob pattern or URL stands for."""
    path = os.fsdecode(source)
    try:
        # Neither a file nor missing is a pipe, or a link to nothing: opening it will tell.
        if "://" in path or (os.path.lexists(path) and not Path(path).is_dir()):
            return [path]
        if Path(path).is_dir():
            raise InputError(
                f'{path}: is a directory: give its files, for example "{Path(path) / "*.jsonl"}"',
                path=path,
                reason="is_directory",
            )
        found = sorted(match for match in glob(path, recursive=True) if not Path(match).is_dir())  # noqa: PTH207  # absolute patterns too
    except OSError as error:
        raise _unreadable(path, error) from error
    if not found:
        what = "no file matches this pattern" if any(mark in path for mark in "*?[") else "no such file"
        raise InputError(f"{path}: {what}: check the path", path=path, reason="not_found")
    return found


def _read_files(paths: list[str], size: int, *, skip: bool) -> Iterator[Chunk]:
    return chain.from_iterable(_read_file(path, size, skip=skip) for path in paths)


def _read_file(path: str, size: int, *, skip: bool) -> Iterator[Chunk]:
    is_url = "://" in path
    local = fetch(path) if is_url else Path(path)
    try:
        yield from _chunks_of(path, local, size, skip=skip)
    except InputError as error:
        if is_url and error.reason in ("not_json", "not_utf8", "no_records"):
            # An error page, or a damaged copy: the next try must not meet it again.
            with suppress(OSError):
                local.unlink()
        raise


def _chunks_of(path: str, local: Path, size: int, *, skip: bool) -> Iterator[Chunk]:
    count, rejected = 0, Counter[str]()
    try:
        with local.open("rb") as file:
            unit, numbered = _parse(path, file)
            for chunk in _cut(numbered, path, unit, size, skip=skip):
                count += len(chunk.records)
                rejected.update(chunk.rejected)
                yield chunk
    except OSError as error:
        raise _unreadable(path, error) from error
    if not count:
        why = ", ".join(f"{n} rejected as {reason}" for reason, n in sorted(rejected.items())) or "it is empty"
        raise InputError(f"{path}: holds no records ({why}): {_RULE}", path=path, reason="no_records")


def _parse(path: str, file: BufferedReader) -> tuple[Literal["line", "record"], Iterator[_Numbered]]:
    """Tell an array from lines by the first character that is not blank."""
    start = len(_BOM) if file.peek(len(_BOM)).startswith(_BOM) else 0
    file.read(start)
    head = []
    for line in file:
        head.append(line)
        if not line.isspace():
            break
    first = head[-1].strip() if head else b""
    if first.startswith(b"["):
        return "record", _checked(_array(path, b"".join([*head, file.read()]), start), path)
    # A comma after a whole object is another mistake: lines that were taken from an array.
    if first.startswith(b"{") and first.endswith((b"{", b"[", b":", b",")) and not first.endswith(b"},"):
        raise InputError(
            f"{path}: holds one JSON object spread over several lines: {_RULE}; "
            "put [ and ] around it, or write it on one line",
            path=path,
            row=len(head),
            reason="not_json",
        )
    return "line", _lines(path, chain(head, file), start)


def _array(path: str, data: bytes, start: int) -> list[Any]:
    try:
        loaded: list[Any] = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _broken(path, None, error, start) from error
    return loaded


def _lines(path: str, lines: Iterable[bytes], start: int) -> Iterator[_Numbered]:
    for number, line in enumerate(lines, 1):
        if not line.isspace():
            yield number, _line(path, number, line, start)
        start += len(line)


def _line(path: str, number: int, line: bytes, start: int) -> dict[str, Any] | InputError:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        is_page = line.lstrip().startswith(b"<")
        return _broken(path, number, ValueError("it looks like an HTML page") if is_page else error, start)
    return record if isinstance(record, dict) else _no_object(path, "line", number, record)


def _checked(items: Iterable[object], path: str | None) -> Iterator[_Numbered]:
    for i, item in enumerate(items):
        if isinstance(item, dict):
            yield i, item
        elif isinstance(item, Mapping):
            yield i, dict(item)
        else:
            yield i, _no_object(path, "record", i, item)


def _cut(
    numbered: Iterable[_Numbered],
    path: str | None,
    unit: Literal["line", "record"],
    size: int,
    *,
    skip: bool,
) -> Iterator[Chunk]:
    chunk = Chunk(path, unit, [], [], {})
    for number, item in numbered:
        if isinstance(item, InputError):
            if not skip:
                raise item
            chunk.rejected[item.reason] = chunk.rejected.get(item.reason, 0) + 1
            continue
        chunk.numbers.append(number)
        chunk.records.append(item)
        if len(chunk.records) == size:
            yield chunk
            chunk = Chunk(path, unit, [], [], {})
    if chunk.records or chunk.rejected:
        yield chunk


def _address(path: str | None, unit: str, number: int) -> str:
    return f"{unit} {number} of the given iterable" if path is None else f"{path}, {unit} {number}"


def _broken(path: str, line: int | None, error: Exception, start: int) -> InputError:
    """What kept text from being read; without a `line`, the error's own (an array's)."""
    where = path if line is None else _address(path, "line", line)
    if isinstance(error, UnicodeDecodeError):
        message = f"{where}: not UTF-8 at byte {start + error.start} of the file: save it as UTF-8"
        return InputError(message, path=path, row=line, reason="not_utf8")
    why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, json.JSONDecodeError):
        line = line or error.lineno
        where, why = f"{_address(path, 'line', line)}, column {error.colno}", error.msg
    return InputError(f"{where}: not JSON ({why}): {_RULE}", path=path, row=line, reason="not_json")


def _no_object(path: str | None, unit: str, number: int, item: object) -> InputError:
    return InputError(
        f"{_address(path, unit, number)}: is of type {type(item).__name__}, not an object: "
        'every record is an object (a dict) of named fields, such as {"text": "..."}',
        path=path,
        row=number,
        reason="not_object",
    )


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be read ({error.strerror or error}): check the path and its permissions",
        path=path,
        reason="unreadable",
    )
