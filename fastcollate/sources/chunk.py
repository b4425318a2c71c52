"""Chunks of records, and what messages call the rows they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError

__all__ = ["Chunk", "Item", "Origin", "unreadable"]


class Rejected(NamedTuple):
    """A row that was passed over."""

    row: int
    reason: str
    message: str
    record: Any


Item = dict[str, Any] | InputError | None
"""What one row holds: a record, or what is wrong with it; None is a blank line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What messages call the rows of a source.

    Attributes:
        path: The file or URL; None is an iterable given by the caller.
        unit: What people call a row, and count: lines from 1, records from 0.

    >>> Origin("data.jsonl", "line").at(16), Origin(None).at(16)
    ('data.jsonl, line 17', 'record 16 of the given iterable')
    """

    path: str | None
    unit: Literal["line", "record"] = "record"

    def number(self, row: int) -> int:
        """Return how people count `row`, which is 0-based."""
        return row + (self.unit == "line")

    def at(self, row: int) -> str:
        """Return the address of `row`."""
        place = f"{self.unit} {self.number(row)}"
        return f"{place} of the given iterable" if self.path is None else f"{self.path}, {place}"

    def error(self, row: int, message: str, reason: str) -> InputError:
        """Return the error that names `row` and says what is wrong with it."""
        return InputError(f"{self.at(row)}: {message}", path=self.path, row=self.number(row), reason=reason)

    def record(self, row: int, value: object) -> dict[str, Any] | InputError:
        """Return the value of `row` as a record, or the error that it is none."""
        if isinstance(value, Mapping):
            return value if isinstance(value, dict) else dict(value)
        message = (
            f"is of type {type(value).__name__}, not an object: "
            'every record is an object (a dict) of named fields, such as {"text": "..."}'
        )
        return self.error(row, message, "not_object")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive rows of one source: the records in them, and how many rows hold none.

    Attributes:
        origin: What messages call the rows.
        rows: `int64[N]`, the row of each record, counted from 0 in its source.
        records: The N records.
        rejected: How many rows were passed over, by reason.
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
            skip: True counts rows that hold no record by reason, False raises the error of the first one.

        Raises:
            InputError: A row holds no record, and `skip` is False.
        """
        rejected = []
        for row, item in enumerate(items, first):
            if isinstance(item, InputError):
                if not skip:
                    raise item
                rejected.append(Rejected(row, item.reason, str(item), None))
        good = [isinstance(item, dict) for item in items]
        records = [item for item in items if isinstance(item, dict)]
        return cls(origin, first + np.flatnonzero(good), records, rejected, first + len(items))


def unreadable(path: str, error: OSError) -> InputError:
    """Return the error that names a file the system does not let us read."""
    message = f"{path}: cannot be read ({error.strerror or error}): check the path and its permissions"
    return InputError(message, path=path, reason="unreadable")
