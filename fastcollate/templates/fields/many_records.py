"""Many records at once: whole columns of values, by functions that loop in C."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, offsets_of
from fastcollate.templates.segments import Texts

__all__ = ["Run", "columns_of_fields", "texts_of_columns"]


class Run(NamedTuple):
    """Neighbouring parts of one weight.

    Attributes:
        form: Their text, with `%s` for each field.
        pick: What takes these fields' values from those of all fields.
        weight: 1 where they are supervised, else 0.
        pieces: The same text as pairs of what is always there and the number of the field that follows it.
    """

    form: str
    pick: Callable[[Sequence[str]], Any]
    weight: float
    pieces: tuple[tuple[str, int | None], ...]


def columns_of_fields(
    records: Sequence[Mapping[str, Any]], keys: Sequence[tuple[str, str]], optional: frozenset[str]
) -> list[list[str]] | None:
    """Return the values of each field in all records, "" where an optional one is missing or None.

    Args:
        records: The records.
        keys: Pairs of a field and its key in the records.
        optional: The fields that may be missing.

    Returns:
        A list for each field; None where a record has another value, which must be looked at alone.
    """
    columns = list[list[Any]]()
    for name, key in keys:
        try:
            values = list(map(itemgetter(key), records))
        except KeyError:
            values = [record.get(key) for record in records]
        kinds = set(map(type, values))
        if name in optional and type(None) in kinds:
            kinds.discard(type(None))
            values = [value or "" for value in values]
        if not kinds <= {str}:
            return None
        columns.append(values)
    return columns


def texts_of_columns(
    columns: Sequence[list[str]], conditions: Sequence[int], runs: Mapping[tuple[bool, ...], tuple[Run, ...]]
) -> Texts | None:
    """Return the texts of records whose fields are these.

    Args:
        columns: The values of each field, those of N records; there is at least one.
        conditions: The fields that decide which runs a record has.
        runs: The runs, by whether each of these fields is not empty.

    Returns:
        The texts; None where a record would have no text at all.
    """
    count = len(columns[0])
    lengths = [np.fromiter(map(len, column), np.int64, count) for column in columns]
    codes = sum(((lengths[i] > 0) << bit for bit, i in enumerate(conditions)), np.zeros(count, np.int64))
    kinds = [
        (runs[tuple(bool(code >> bit & 1) for bit in range(len(conditions)))], np.flatnonzero(codes == code))
        for code in np.unique(codes).tolist()
    ]
    if not all(kind for kind, _ in kinds):
        return None
    numbers = np.empty(count, np.int64)
    for kind, chosen in kinds:
        numbers[chosen] = len(kind)
    offsets = offsets_of(numbers)
    texts = np.empty(count, object)
    sizes, weights = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]), np.float32)
    for kind, chosen in kinds:
        texts[chosen] = _filled(columns, kind, chosen)
        for number, run in enumerate(kind):
            at = offsets[chosen] + number
            sizes[at] = sum(len(literal) for literal, _ in run.pieces)
            for place in [place for _, place in run.pieces if place is not None]:
                sizes[at] += lengths[place][chosen]
            weights[at] = run.weight
    return Texts(texts.tolist(), sizes, weights, offsets)


def _filled(values: Sequence[list[str]], runs: Sequence[Run], chosen: IntArray) -> list[str]:
    """Return the whole text of each of the `chosen` records."""
    count, numbers = len(chosen), chosen.tolist()
    columns = list[Iterable[str]]()
    before = ""
    for literal, place in [piece for run in runs for piece in run.pieces]:
        before += literal
        if place is not None:
            column = values[place]
            columns += [repeat(before, count), column if count == len(column) else [column[i] for i in numbers]]
            before = ""
    columns.append(repeat(before, count))
    return list(map("".join, zip(*columns, strict=True)))
