"""Many records at once: whole columns of values, by functions that loop in C."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from fastcollate.ragged import IntArray, offsets_of
from fastcollate.templates.segments import Texts

__all__ = ["Piece", "Run", "columns_of_fields", "texts_of_columns"]


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


class Piece(NamedTuple):
    """What is always there of a part, and a field after it.

    Attributes:
        literal: The text that is always there.
        place: The number of the field that follows; None is none.
        when: The field without which the part is left out; None is no such field.
        unless: The field with which the part is left out; None is no such field.
    """

    literal: str
    place: int | None
    when: int | None
    unless: int | None


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
    columns: Sequence[list[str]],
    conditions: Sequence[int],
    runs: Mapping[tuple[bool, ...], tuple[Run, ...]],
    pieces: Sequence[Piece],
) -> Texts | None:
    """Return the texts of records whose fields are these.

    Args:
        columns: The values of each field, those of N records; there is at least one.
        conditions: The fields that decide which runs a record has.
        runs: The runs, by whether each of these fields is not empty.
        pieces: The pieces of all parts.

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
    sizes, weights = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]), np.float32)
    for kind, chosen in kinds:
        for number, run in enumerate(kind):
            at = offsets[chosen] + number
            sizes[at] = sum(len(literal) for literal, _ in run.pieces)
            for place in [place for _, place in run.pieces if place is not None]:
                sizes[at] += lengths[place][chosen]
            weights[at] = run.weight
    return Texts(_filled(columns, lengths, pieces), sizes, weights, offsets)


def _filled(columns: Sequence[list[str]], lengths: Sequence[IntArray], pieces: Sequence[Piece]) -> list[str]:
    """Return the whole text of each record: what a record does not have is empty there."""
    count = len(columns[0])
    strings = list[Iterable[str]]()
    before = ""
    for literal, place, when, unless in pieces:
        always = when is None and unless is None
        given = [] if always else _given(lengths, when, unless)
        if always:
            before += literal
        if before and not (always and place is None):
            strings.append(repeat(before, count))
            before = ""
        if literal and not always:
            strings.append([literal if has else "" for has in given])
        if place is not None:
            as_it_is = always or (place == when and unless is None)
            column = columns[place]
            strings.append(
                column if as_it_is else [value if has else "" for value, has in zip(column, given, strict=True)]
            )
    if before or not strings:
        strings.append(repeat(before, count))
    return list(map("".join, zip(*strings, strict=True)))


def _given(lengths: Sequence[IntArray], when: int | None, unless: int | None) -> list[bool]:
    given = np.ones(len(lengths[0]), bool) if when is None else lengths[when] > 0
    return (given if unless is None else given & (lengths[unless] == 0)).tolist()
