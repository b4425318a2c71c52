"""Records that wait to become a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StoreWriteError
from fastcollate.ragged import IntArray, Ragged, offsets_of
from fastcollate.store.shards.shard_arrays import (
    DTYPES,
    STRING,
    USUAL,
    Arrays,
    ColumnEntry,
    dictionary_of,
    group_begins,
    is_column_name,
)

__all__ = ["Pending", "columns_of", "flat", "supervised_of"]


class Pending:
    """Appended records, of which some at a time become a shard.

    Attributes:
        records: How many there are.
    """

    def __init__(self) -> None:
        self.records = 0
        self._parts: list[Arrays] = []
        self._groups = 0

    def append(self, part: dict[str, NDArray[Any]]) -> None:
        """Add records: their arrays by name, strings as they are. No group goes on from call to call."""
        if "group" in part:
            group = part["group"]
            part["group"] = np.where(group < 0, -1, group + self._groups)
            self._groups += int(group.max()) + 1
        self._parts.append(part)
        self.records += len(part["source_row"])

    def take(self, count: int, columns: Mapping[str, ColumnEntry]) -> dict[str, NDArray[Any]]:
        """Remove the first `count` records, or all if there are fewer, and return the arrays of their shard."""
        whole = self._parts[0] if len(self._parts) == 1 else _joined(self._parts)
        cut = _cut(whole.get("group"), min(count, self.records))
        self._parts = [_records_of(whole, cut, self.records, columns)] if cut < self.records else []
        self.records -= cut
        shard = _records_of(whole, 0, cut, columns)
        for name, usual in USUAL.items():
            if name in shard and bool((shard[name] == usual).all()):
                del shard[name]
        if "group" in shard:
            shard["group"] = _renumbered(shard["group"])
        ordered = {name: shard[name] for name in shard if name not in columns}
        for name in sorted(columns.keys() & shard.keys()):
            ordered |= _coded(name, shard[name]) if columns[name].dtype == STRING else {name: shard[name]}
        return ordered


def flat(ragged: Ragged) -> tuple[NDArray[Any], IntArray]:
    """Return the values of all rows side by side, and offsets that begin at 0."""
    first, last = ragged.offsets[0], ragged.offsets[-1]
    return ragged.values[first:last], ragged.offsets - first


def supervised_of(pairs: NDArray[Any], offsets: IntArray, lengths: IntArray, *, all_of: bool) -> NDArray[np.int32]:
    """Return how many tokens of each record are targets, int32[N].

    >>> supervised_of(np.array([1, 3, 0, 2, 4, 5]), np.array([0, 2, 6]), np.array([3, 5]), all_of=False)
    array([2, 3], dtype=int32)
    """
    if all_of:
        return lengths.astype(np.int32)
    before = offsets_of(pairs[1::2].astype(np.int64) - pairs[::2])
    return np.diff(before[offsets // 2]).astype(np.int32)


def columns_of(
    columns: Mapping[str, Any], lengths: IntArray, spans: int
) -> tuple[dict[str, NDArray[Any]], dict[str, ColumnEntry]]:
    """Return the values of named columns, and what each column is.

    Raises:
        StoreWriteError: A name that no column can have, or values that do not fit the records.
    """
    arrays, entries = {}, {}
    for name, given in columns.items():
        if not is_column_name(name):
            raise StoreWriteError(
                f"a column cannot be called {name!r:.80}: its name is letters, digits and _, at most 64 of them, "
                "and none that a store has already"
            )
        per: Literal["span", "token", "record"] = "token" if isinstance(given, Ragged) else "record"
        if name == "weights":
            per = "span"
        values = flat(given)[0] if isinstance(given, Ragged) else _as_array(name, given)
        wanted = {"span": spans, "token": int(lengths.sum()), "record": len(lengths)}[per]
        if len(values) != wanted or (isinstance(given, Ragged) and not np.array_equal(given.lengths, lengths)):
            raise StoreWriteError(f"column {name!r} has {len(values)} values: it needs one per {per}, {wanted}")
        if name == "weights" and values.dtype != np.float32:
            raise StoreWriteError(f"column 'weights' is {values.dtype}: weights are float32")
        if name == "group" and (values.dtype != np.int64 or int(values.min()) < -1):
            raise StoreWriteError("column 'group' must hold integers: a group's number from 0, or -1 for none")
        arrays[name] = values
        entries[name] = ColumnEntry(STRING if values.dtype == object else str(values.dtype), per)
    return arrays, entries


def _as_array(name: str, given: Any) -> NDArray[Any]:
    """Return numbers as an array of their dtype, truth as uint8, and strings as they are."""
    values = np.asarray(given, object if len(given) and isinstance(given[0], str) else None)
    if values.dtype == object and values.ndim == 1 and all(isinstance(value, str) for value in values):
        return values
    if values.dtype == bool:
        values = values.view(np.uint8)
    if values.ndim != 1 or str(values.dtype) not in DTYPES:
        raise StoreWriteError(
            f"column {name!r} is {values.dtype} with {values.ndim} dimension(s): give flat numbers or strings"
        )
    return values


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Return the records of all parts, copied."""
    order = list(dict.fromkeys(name for part in parts for name in part))
    names = [name for name in order if name not in ("offsets", "span_offsets")]
    whole = {name: np.concatenate([_values_of(part, name) for part in parts]) for name in names}
    for offsets in ("offsets", "span_offsets"):
        lengths = np.concatenate([np.diff(part[offsets]) for part in parts])
        whole[offsets] = offsets_of(lengths)
    return {name: whole[name] for name in order}


def _values_of(part: Arrays, name: str) -> NDArray[Any]:
    if name in part:
        return part[name]
    if name == "weights":
        return np.ones(len(part["spans"]) // 2, np.float32)
    return np.full(len(part["source_row"]), USUAL[name])


def _records_of(
    arrays: Arrays, start: int, stop: int, columns: Mapping[str, ColumnEntry]
) -> dict[str, NDArray[Any]]:
    """Return records `start` to `stop`, the values as views."""
    tokens, spans = arrays["offsets"][start : stop + 1], arrays["span_offsets"][start : stop + 1]
    edges = {"token": (tokens[0], tokens[-1]), "span": (spans[0] // 2, spans[-1] // 2), "record": (start, stop)}
    part: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        match name:
            case "input_ids":
                part[name] = values[tokens[0] : tokens[-1]]
            case "spans":
                part[name] = values[spans[0] : spans[-1]]
            case "offsets" | "span_offsets":
                part[name] = (own := values[start : stop + 1]) - own[0]
            case _:
                first, last = edges[columns[name].per if name in columns else "record"]
                part[name] = values[first:last]
    return part


def _cut(group: NDArray[Any] | None, count: int) -> int:
    """Return the most records up to `count` that part no group; the first group, if that is longer."""
    if group is None or count == len(group):
        return count
    parts = np.flatnonzero(group_begins(group))[1:]
    before = int(np.searchsorted(parts, count, "right"))
    if before:
        return int(parts[before - 1])
    return int(parts[0]) if len(parts) else len(group)


def _renumbered(group: NDArray[Any]) -> IntArray:
    """Return the same groups, counted from 0."""
    return np.where(group < 0, -1, np.cumsum(group_begins(group) & (group >= 0)) - 1)


def _coded(name: str, texts: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return strings as codes, and the dictionary in which they are numbered as they come."""
    number: dict[str, int] = {}
    codes = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int32, len(texts))
    data = [text.encode() for text in number]
    words, offsets = dictionary_of(name)
    edges = offsets_of([len(part) for part in data])
    return {name: codes, words: np.frombuffer(b"".join(data), np.uint8), offsets: edges}
