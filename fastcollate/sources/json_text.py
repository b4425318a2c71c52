"""Files of JSON: Lines, or one array."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Chunk, Item, Origin, unreadable
from fastcollate.sources.sniff import sniff
from fastcollate.storage.http import downloaded

__all__ = ["JsonFile"]

_RULE = "a file holds one JSON array of objects, or JSON Lines: one object a line"


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A file of JSON Lines or of one JSON array of objects, here or behind a URL.

    Args:
        name: The path or the URL; what the file holds decides how it is read.

    >>> JsonFile("data.jsonl")
    JsonFile(name='data.jsonl')
    """

    name: str

    def chunks(self, *, size: int, skip: bool) -> Iterator[Chunk]:
        """Yield the records, up to `size` rows at a time.

        Raises:
            InputError: The file is unreadable, not UTF-8, not JSON or without records, or holds something that
                is no object.
        """
        first, records, rejected = 0, 0, Counter[str]()
        try:
            with self._local() as path, path.open("rb") as file:
                origin, items = self._items(file)
                for batch in iter(lambda: list(islice(items, size)), []):
                    chunk = Chunk.of(origin, first, batch, skip=skip)
                    first = chunk.stop
                    records += len(chunk.records)
                    rejected.update(line.reason for line in chunk.rejected)
                    yield chunk
                if not records:
                    raise self._error(f"holds no records ({_counts(rejected)}): {_RULE}", "no_records")
        except OSError as error:
            raise unreadable(self.name, error) from error

    def _local(self) -> AbstractContextManager[Path]:
        return downloaded(self.name) if "://" in self.name else nullcontext(Path(self.name))

    def _items(self, file: BufferedReader) -> tuple[Origin, Iterator[Item]]:
        """Return what to call the rows, and what each holds."""
        kind, head, start = sniff(file)
        if kind == "array":
            origin = Origin(self.name)
            values = self._array(b"".join([*head, file.read()]), start)
            return origin, (origin.record(row, value) for row, value in enumerate(values))
        if kind == "object":
            raise self._error(
                f"holds one JSON object spread over several lines: {_RULE}; "
                "put [ and ] around it, or write it on one line",
                "not_json",
                line=len(head),
            )
        origin = Origin(self.name, "line")
        return origin, _lines(origin, chain(head, file), start)

    def _array(self, data: bytes, start: int) -> list[Any]:
        try:
            loaded: list[Any] = json.loads(data.decode())
        except UnicodeDecodeError as error:
            raise self._error(_not_utf8(error, start), "not_utf8") from error
        except json.JSONDecodeError as error:
            origin = Origin(self.name, "line")
            raise _not_json(origin, error.lineno - 1, error) from error
        except (ValueError, RecursionError) as error:
            raise self._error(f"not JSON ({_why(error)}): {_RULE}", "not_json") from error
        return loaded

    def _error(self, message: str, reason: str, line: int | None = None) -> InputError:
        return InputError(f"{self.name}: {message}", path=self.name, row=line, reason=reason)


def _lines(origin: Origin, lines: Iterable[bytes], start: int) -> Iterator[Item]:
    for row, line in enumerate(lines):
        yield None if line.isspace() else _line(origin, row, line, start)
        start += len(line)


def _line(origin: Origin, row: int, line: bytes, start: int) -> dict[str, Any] | InputError:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        if line.lstrip().startswith(b"<"):
            return _not_json(origin, row, ValueError("it looks like an HTML page"))
        if isinstance(error, UnicodeDecodeError):
            return origin.error(row, _not_utf8(error, start), "not_utf8")
        return _not_json(origin, row, error)
    return value if isinstance(value, dict) else origin.record(row, value)


def _not_utf8(error: UnicodeDecodeError, start: int) -> str:
    return f"not UTF-8 at byte {start + error.start} of the file: save it as UTF-8"


def _not_json(origin: Origin, row: int, error: ValueError | RecursionError) -> InputError:
    """Return what keeps a line from being read; a `JSONDecodeError` knows its column."""
    column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    message = f"{origin.at(row)}{column}: not JSON ({_why(error)}): {_RULE}"
    return InputError(message, path=origin.path, row=origin.number(row), reason="not_json")


def _why(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _counts(rejected: Counter[str]) -> str:
    counted = (f"{count} rejected as {reason}" for reason, count in sorted(rejected.items()))
    return ", ".join(counted) or "it is empty"
