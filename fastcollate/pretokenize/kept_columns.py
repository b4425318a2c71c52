"""Keys of the records that become columns of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcollate.errors import InputError
from fastcollate.ragged import IntArray
from fastcollate.templates.wording import given, is_nan, short

__all__ = ["NOTHING", "KeptColumns"]

_KINDS: dict[type, str] = {str: "string", bool: "uint8", int: "int64", float: "float64"}
_WORDS = {"string": "a string", "uint8": "true or false", "int64": "an integer", "float64": "a number"}


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """Columns by the keys of the records, each with the kind of value that it has all through the source.

    Args:
        kinds: Pairs of a key and a kind: `"string"`, `"uint8"` (true or false), `"int64"` or `"float64"`.

    >>> kept = KeptColumns.found(["source", "score"], [{"source": "web", "score": 0.5}])
    >>> kept.kinds, kept.of([{"source": "web", "score": None}], np.array([0]))
    ((('source', 'string'), ('score', 'float64')), {'source': ['web'], 'score': array([nan])})
    """

    kinds: tuple[tuple[str, str], ...] = ()

    @classmethod
    def found(cls, names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> KeptColumns:
        """Return the columns `names`, of the kinds that the first records tell.

        Raises:
            InputError: None of the records has a value under a name, or one that is no string and no number.
        """
        return cls(tuple((name, _kind_in(name, records)) for name in dict.fromkeys(names)))

    @property
    def names(self) -> frozenset[str]:
        """The keys."""
        return frozenset(name for name, _ in self.kinds)

    def check(self, record: Mapping[str, Any]) -> None:
        """Raise unless a record has a value of each column's kind.

        A string may be missing, or NaN, which is "", and a number with a fraction, which is NaN.

        Raises:
            InputError: It has not (`not_kept`).
        """
        for name, kind in self.kinds:
            value = given(record, name)
            if value is None and kind in ("string", "float64"):
                continue
            found = _KINDS.get(type(value))
            if found != kind and not (found == "int64" and kind == "float64"):
                raise InputError(
                    f'"{name}" is {short(record.get(name))}: it is kept as a column, and the first record that '
                    f"has one has {_WORDS[kind]}; make all of one kind, or do not keep it",
                    reason="not_kept",
                )
            if not _can_be_stored(value):
                raise InputError(
                    f'"{name}" is {short(value)}: a column that is kept holds integers of 64 bits, and text '
                    "without half characters; mend it, or do not keep it",
                    reason="not_kept",
                )

    def of(self, records: Sequence[Mapping[str, Any]], origins: IntArray) -> dict[str, Any]:
        """Return the columns of documents, `origins: int64[N]` being the record of each."""
        chosen = [records[i] for i in origins.tolist()] if self.kinds else []
        columns: dict[str, Any] = {}
        for name, kind in self.kinds:
            values = [given(record, name) for record in chosen]
            if kind == "string":
                columns[name] = ["" if value is None else value for value in values]
            else:
                columns[name] = np.array([np.nan if value is None else value for value in values], kind)
        return columns


NOTHING = KeptColumns()


def _kind_in(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    found = [value for record in records if (value := record.get(name)) is not None]
    known = next((value for value in found if not is_nan(value)), None)
    if known is not None and type(known) not in _KINDS:
        raise InputError(
            f'"{name}" is {short(known)}: a column that is kept holds strings, numbers, or true and false',
            reason="not_kept",
        )
    if found:  # where only NaN is known, or stands before integers, they are numbers with a fraction
        kind = "float64" if known is None else _KINDS[type(known)]
        return "float64" if kind == "int64" and is_nan(found[0]) else kind
    raise InputError(
        f'"{name}" is to be kept as a column, and none of the first {len(records)} records has it',
        reason="not_kept",
    )


def _can_be_stored(value: object) -> bool:
    """Return whether an integer has at most 64 bits, and a string a UTF-8 form."""
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    try:
        return not isinstance(value, str) or value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
