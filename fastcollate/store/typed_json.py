"""JSON and dataclasses, each field checked against its declared type on the way in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from functools import cache
from inspect import get_annotations
from itertools import chain
from typing import Any, TypeVar, cast, get_args, get_origin

from fastcollate.errors import StoreCorruptError

__all__ = ["build", "sealed"]

Built = TypeVar("Built")


def sealed(value: Any, **head: Any) -> bytes:
    """Return a dataclass as canonical JSON that carries its own SHA-256: equal values give equal bytes.

    Args:
        value: The dataclass; its fields may be dataclasses again, or lists of them.
        head: Further fields, which the hash covers too.
    """
    content = head | _plain(value)
    return _canonical(content | {"sha256": hashlib.sha256(_canonical(content)).hexdigest()})


def _canonical(content: dict[str, Any]) -> bytes:
    """Return JSON with sorted keys and no white space."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def build(kind: type[Built], content: Any, path: str) -> Built:
    """Turn JSON into the dataclass `kind`, with every field present and of its declared type.

    Raises:
        StoreCorruptError: A field is missing, unknown or of another type; `path` is named.
    """
    hints = _hints(cast("Hashable", kind))
    if not isinstance(content, dict) or set(content) != set(hints):
        odd = sorted(set(content) ^ set(hints)) if isinstance(content, dict) else [repr(content)[:40]]
        raise StoreCorruptError(f"{path}: fields of {kind.__name__} are missing or unknown: {', '.join(odd)}")
    return kind(**{name: _convert(hints[name], content[name], f"{path}: {name}") for name in hints})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The type of each field; to find it out takes longer than all else, and shards are many."""
    return get_annotations(kind, eval_str=True)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint` says; lists and dicts item by item."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is list:
        items = _typed(list, value, where)
        return items if _are_counts(inner[0], items) else [_convert(inner[0], item, where) for item in items]
    if kind is dict:
        return {key: _convert(inner[1], item, where) for key, item in _typed(dict, value, where).items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return build(hint, value, where)
    if hint is int:
        return _count(value, where)
    if type(None) in inner:
        return None if value is None else _convert(inner[0], value, where)
    return _typed(bool if hint is bool else str, value, where)


def _plain(value: Any) -> Any:
    """Return dataclasses as dicts, as `asdict` makes them, but for the deep copy of every number."""
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, list) and value and is_dataclass(value[0]):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _typed(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise StoreCorruptError(f"{where} is {value!r:.40}: it must be a {kind.__name__}; restore the manifest")
    return value


def _are_counts(hint: Any, items: list[Any]) -> bool:
    """Whether the items are what `int` or `list[int]` allows: a histogram is thousands of them."""
    if hint == list[int]:
        return all(type(item) is list for item in items) and _are_counts(int, list(chain.from_iterable(items)))
    return hint is int and all(type(item) is int and 0 <= item < 2**63 for item in items)


def _count(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise StoreCorruptError(f"{where} is {value!r:.40}: it must be a count from 0; restore the manifest")
    return value
