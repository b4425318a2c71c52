"""Chunks of records, and what messages call the rows they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError, LimitError

__all__ = ["CHUNK_BYTES", "MOST_BYTES", "Bad", "Chunk", "Item", "Origin", "Rejected", "reason_of", "unreadable"]

MOST_BYTES = 64 << 20
"""The most bytes of one record: a long book has 10 MB; so much is taken to be a mistake, and would fill memory."""

CHUNK_BYTES = 4 << 20
"""About so many bytes end a chunk that has fewer rows than it may have, where a format can tell."""

_MOST_SHOWN = 4096  # characters of a rejected record


class Rejected(NamedTuple):
    """A row that was passed over.

    Attributes:
        row: The row, counted as `Chunk.rows`; -1 is the whole rest of the file.
        reason: The word for what is wrong, from `InputError`'s table.
        message: The error that it would have been.
        record: The record, or the text of the line, up to 4,096 characters of it; None where it is not known.
    """

    row: int
    reason: str
    message: str
    record: Any


class Bad(NamedTuple):
    """What is wrong with a row, and what it holds."""

    error: InputError | LimitError
    record: Any = None


Item = dict[str, Any] | Bad | None
"""What one row holds: a record, or what is wrong with it; None is a blank line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What messages call the rows of a source, or of a part of it.

    Attributes:
        path: The file or URL; None is an iterable given by the caller.
        unit: What people call a row, and count: lines from 1, records from 0.
        before: How many rows the source has before the part, or the function that counts them when it is asked.
        lines: The first row of a chunk, and the line of each row from there on, where rows are not lines.

    >>> Origin("data.jsonl", "line").at(16), Origin(None).at(16)
    ('data.jsonl, line 17', 'record 16 of the given iterable')
    """

    path: str | None
    unit: Literal["line", "record"] = "record"
    before: int | Callable[[], int] = 0
    lines: tuple[int, Sequence[int]] | None = None

    def number(self, row: int) -> int:
        """Return how people count `row`, which is 0-based."""
        if self.lines is not None:
            first, lines = self.lines
            return lines[row - first]
        before = self.before if isinstance(self.before, int) else self.before()
        return before + row + (self.unit == "line")

    def at(self, row: int) -> str:
        """Return the address of `row`."""
        place = f"{self.unit} {self.number(row)}"
        return f"{place} of the given iterable" if self.path is None else f"{self.path}, {place}"

    def error(self, row: int, message: str, reason: str) -> InputError:
        """Return the error that names `row` and says what is wrong with it."""
        return InputError(f"{self.at(row)}: {message}", path=self.path, row=self.number(row), reason=reason)

    def not_utf8(self, row: int, at: int) -> InputError:
        """Return the error for a row that is not UTF-8 at byte `at` of the file."""
        return self.error(row, f"not UTF-8 at byte {at} of the file: save it as UTF-8", "not_utf8")

    def record(self, row: int, value: object) -> Item:
        """Return the value of `row` as a record, or what is wrong with it.

        A list of turns, each an object with a role, is the record that has it as its `messages`.
        """
        if isinstance(value, Mapping):
            return value if isinstance(value, dict) else dict(value)
        if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
            for key, name in (("role", "messages"), ("from", "conversations")):
                if all(key in turn for turn in value):
                    return {name: value}
        message = (
            f"is of type {type(value).__name__}, not an object: "
            'every record is an object (a dict) of named fields, such as {"text": "..."}'
        )
        return Bad(self.error(row, message, "not_object"), value)


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive rows of one source, or of a part of it: the records in them, and the rows that hold none.

    Attributes:
        origin: What messages call the rows.
        rows: `int64[N]`, the row of each record, counted from 0 in its source or part.
        records: The N records.
        rejected: The rows that were passed over.
        stop: The row after the last one that was looked at.
        base: How many rows the sources before this one have.

    >>> rows = [{"text": "a"}, None, {"text": "b"}]
    >>> chunk = Chunk.of(Origin("data.jsonl", "line"), 16, rows, skip=False)
    >>> chunk.rows, chunk.stop, chunk.origin.at(16)
    (array([16, 18]), 19, 'data.jsonl, line 17')
    """

    origin: Origin
    rows: NDArray[np.int64]
    records: list[dict[str, Any]]
    rejected: list[Rejected]
    stop: int
    base: int = 0

    @classmethod
    def of(cls, origin: Origin, first: int, items: Sequence[Item], *, skip: bool) -> Chunk:
        """Return the chunk of some consecutive rows.

        Args:
            origin: What messages call the rows.
            first: The first row.
            items: What each row holds.
            skip: True passes over rows that hold no record and names them, False raises the error of the first.

        Raises:
            InputError: A row holds no record, and `skip` is False.
            LimitError: A row is too large, and `skip` is False.
        """
        stop = first + len(items)
        kinds = set(map(type, items))
        records = [item for item in items if isinstance(item, dict)] if kinds != {dict} else list[Any](items)
        if len(records) == len(items):
            return cls(origin, np.arange(first, stop), records, [], stop)
        if kinds == {type(None)}:
            return cls(origin, np.zeros(0, np.int64), [], [], stop)
        rejected = []
        for row, item in enumerate(items, first):
            if isinstance(item, Bad):
                if not skip:
                    raise item.error
                rejected.append(Rejected(row, reason_of(item.error), str(item.error), _excerpt(item.record)))
        good = [isinstance(item, dict) for item in items]
        return cls(origin, first + np.flatnonzero(good), records, rejected, stop)


def reason_of(error: InputError | LimitError) -> str:
    """Return the word for what is wrong; a `LimitError` has none of its own."""
    return error.reason if isinstance(error, InputError) else "too_large"


def unreadable(path: str, error: OSError) -> InputError:
    """Return the error that names a file the system does not let us read."""
    message = f"{path}: cannot be read ({error.strerror or error}): check the path and its permissions"
    return InputError(message, path=path, reason="unreadable")


def _excerpt(record: object) -> object:
    """At most so much of a record as people would look at."""
    if isinstance(record, bytes):
        return record[: 4 * _MOST_SHOWN].decode(errors="backslashreplace")[:_MOST_SHOWN]
    shown = record if isinstance(record, str) else repr(record)
    return record if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN]
