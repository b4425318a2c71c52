"""What the errors of the room have in common: values, keys and near names on one line, JSON that is none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from fastcollate.errors import InputError

__all__ = ["given", "having", "is_nan", "json_text", "nearest", "parsed_json", "renaming", "short"]


def short(value: object) -> str:
    """Return a value on one line, however long it is, with the quotes JSON gives a string."""
    if isinstance(value, str):
        shown = '"' + repr(value[:80])[1:-1] + '"'
    elif isinstance(value, list | tuple | dict) and len(value) > 20:
        return f"a {type(value).__name__} of {len(value)} entries"
    else:
        try:
            shown = repr(value)
        except (RecursionError, ValueError):  # nested too deep, or an integer of too many digits
            return f"a {type(value).__name__}"
    return shown if len(shown) <= 60 else shown[:57] + "..."


def is_nan(value: object) -> bool:
    """Return whether a value is NaN, which pandas writes for nothing."""
    return isinstance(value, float) and value != value  # noqa: PLR0124  # NaN alone differs from itself


def given(record: Mapping[str, Any], key: str) -> Any:
    """Return a value of a record, None where it is NaN."""
    value = record.get(key)
    return None if is_nan(value) else value


def having(record: Mapping[str, Any]) -> str:
    """Return which keys a record has, as a clause."""
    keys = [short(key) for key in record]
    listed = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
    return f"the record has {listed}" if keys else "the record is empty"


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the question whether a near name was meant, or "" where none is near."""
    near = get_close_matches(str(name), list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def renaming(
    name: str,
    renames: Iterable[tuple[str, str]],
    names: Mapping[str, str],
    known: Sequence[str],
) -> tuple[tuple[str, str], ...]:
    """Return the renames of a template with further ones.

    Raises:
        InputError: A field is none of `known`, or a key is no string (`unknown_field`).
    """
    for field, key in names.items():
        if field not in known:
            raise InputError(
                f'template "{name}" has no field {short(field)}: fields= maps the template\'s own '
                f"names ({', '.join(known)}) to keys of the records{nearest(field, known)}",
                reason="unknown_field",
            )
        if not isinstance(key, str):
            raise InputError(
                f'fields["{field}"] is {short(key)}: it must be a key of the records, a string',
                reason="unknown_field",
            )
    return tuple((dict(renames) | dict(names)).items())


def parsed_json(text: str, what: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        InputError: It is none; the message begins with `what`.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{what} that is not JSON: {short(text)}", reason="bad_tool_call") from None


def json_text(value: object, what: str, *, indent: int | None = None) -> str:
    """Return a value as JSON, as Hugging Face's `tojson` writes it.

    Raises:
        InputError: It has no JSON (NaN, dates, bytes, nested too deep); the message begins with `what`.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{what} that JSON cannot hold ({error}): {short(value)}", reason="bad_tool_call"
        ) from None
