"""JSON that holds records, but not as a file of records does: what it is, and how to take them out."""

from __future__ import annotations

import re
from typing import Any

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Origin

__all__ = ["JSON_RULE", "not_records", "spread_object"]

JSON_RULE = "a file holds one JSON array of objects, or JSON Lines: one object a line"

# Where programs put records; other lists of objects, such as "messages", are part of one record.
_WRAPPERS = frozenset(
    [
        "data",
        "rows",
        "records",
        "examples",
        "items",
        "samples",
        "entries",
        "documents",
        "results",
        "dataset",
        "train",
        "training",
        "validation",
        "valid",
        "dev",
        "test",
    ]
)
_WRAPPED = re.compile(
    rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[0-9a-z.+-]+)\s*,)*\s*"([^"\\]*)"\s*:\s*\[\s*[{\]]'
)
_COLUMNS = re.compile(rb'\s*\{\s*"([^"\\]*)"\s*:\s*\[\s*["0-9]')


def not_records(record: dict[str, Any], origin: Origin) -> None:
    """Check that the only record of a file is one, and not an object that holds the records.

    Raises:
        InputError: It wraps an array of records, or holds columns.

    >>> not_records({"data": [{"text": "a"}]}, Origin("data.json", "line"))
    Traceback (most recent call last):
    fastcollate.errors.InputError: data.json: holds one JSON object, whose key "data" holds the records: take them
    out by jq -c '.data[]' data.json > records.jsonl
    """
    for key, value in record.items():
        if key in _WRAPPERS and isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            raise _wrapped(origin, key)
        if (
            key in _WRAPPERS
            and isinstance(value, dict)
            and value
            and all(isinstance(v, list) for v in value.values())
        ):
            raise _error(
                origin, f'holds one JSON object, whose key "{key}" holds columns', _jq_columns(f".{key}", origin)
            )
    columns = list(record.values())
    if not columns:
        return
    if all(isinstance(column, list) for column in columns):
        lengths = {len(column) for column in columns}
        texts = [column for column in columns if column and all(isinstance(cell, str) for cell in column)]
        if texts and len(lengths) == 1:
            raise _columns(origin)
    if _are_records(columns):
        how = f"make lines of them by jq -c '.[]' {origin.path} > records.jsonl"
        raise _error(origin, "holds one JSON object, whose values are the records", how)
    if all(
        isinstance(column, dict) and column and list(column) == [str(i) for i in range(len(column))]
        for column in columns
    ):
        raise _error(
            origin,
            "holds one JSON object of columns by row number, as pandas writes by default",
            'write the records, by frame.to_json(path, orient="records", lines=True)',
        )


def _are_records(values: list[Any]) -> bool:
    """Whether some values are objects of the same keys, which are not the numbers of rows."""
    if len(values) < 2 or not all(
        isinstance(value, dict) and value.keys() == values[0].keys() for value in values
    ):
        return False
    return bool(values[0]) and list(values[0]) != [str(i) for i in range(len(values[0]))]


def spread_object(head: bytes, origin: Origin, line: int) -> InputError:
    """Return the error for an object that is spread over several lines.

    Args:
        head: The first bytes of the file.
        origin: What messages call the file.
        line: The line, from 1, where the object begins.
    """
    if (found := _WRAPPED.match(head)) and found[1].decode(errors="replace") in _WRAPPERS:
        return _wrapped(origin, found[1].decode(errors="replace"))
    if _COLUMNS.match(head):
        return _columns(origin)
    return InputError(
        f"{origin.path}: holds one JSON object spread over several lines, or several such: {JSON_RULE}; "
        f"put [ and ] around it, or write each object on one line, by jq -c . {origin.path} > records.jsonl",
        path=origin.path,
        row=line,
        reason="not_json",
    )


def _wrapped(origin: Origin, key: str) -> InputError:
    what = f'holds one JSON object, whose key "{key}" holds the records'
    return _error(origin, what, f"take them out by jq -c '.{key}[]' {origin.path} > records.jsonl")


def _columns(origin: Origin) -> InputError:
    return _error(origin, "holds one JSON object of columns, each a list", _jq_columns(".", origin))


def _jq_columns(at: str, origin: Origin) -> str:
    program = (
        f"{at} as $c | $c | keys_unsorted as $k | range($c[$k[0]] | length) as $i | "
        "[$k[] | {(.): $c[.][$i]}] | add"
    )
    return f"make records of them by jq -c '{program}' {origin.path} > records.jsonl"


def _error(origin: Origin, what: str, how: str) -> InputError:
    return InputError(f"{origin.path}: {what}: {how}", path=origin.path, reason="not_json")
