"""Lines of `rejected.jsonl`, one for each record that is left out: whatever it holds becomes JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastcollate.storage.local import storage_errors

__all__ = ["add_lines", "json_line"]


def add_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Add lines to the file at `path`, which is made with the first.

    Raises:
        StorageError: The disk failed.
    """
    text = "".join(json_line(line) + "\n" for line in lines)
    if text:
        with storage_errors(path), path.open("a", encoding="ascii") as file:
            file.write(text)


def json_line(line: Mapping[str, Any]) -> str:
    """Return an object as JSON; the members of its members that have none (too long a number) as their types."""
    try:
        return json.dumps(line, sort_keys=True, default=_type_name)
    except (TypeError, ValueError, RecursionError):
        plain = {
            key: {str(name): _plain(member) for name, member in value.items()}
            if isinstance(value, Mapping)
            else _plain(value)
            for key, value in line.items()
        }
        return json.dumps(plain, sort_keys=True)


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"


def _plain(value: object) -> Any:
    """Return a value as it is read from JSON, or its type if it has none."""
    try:
        return json.loads(json.dumps(value, default=_type_name))
    except (TypeError, ValueError, RecursionError):
        return _type_name(value)
