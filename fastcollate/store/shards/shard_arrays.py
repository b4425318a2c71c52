"""The arrays of a shard: their names, dtypes and lengths, which follow from its columns and counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import Column

__all__ = [
    "BASE",
    "DTYPES",
    "PER",
    "STRING",
    "USUAL",
    "Arrays",
    "ColumnEntry",
    "array_dtypes",
    "dictionary_of",
    "group_begins",
    "is_column_name",
]

Arrays = Mapping[str, NDArray[Any]]
"""The arrays of a shard by their names."""

BASE = {
    "offsets": "int64",
    "spans": "uint32",
    "span_offsets": "int64",
    "source_row": "int64",
    "supervised": "int32",
}
"""What every shard has beside its token ids, and of which dtype."""

DTYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float32", "float64"}
PER = ("token", "span", "record")
USUAL = {"weights": 1, "group": -1}  # what these columns hold all over a shard that lacks them
STRING = "string"  # the dtype of a column of strings: int32 codes into a dictionary of the shard's own

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TAKEN = {"input_ids", "blocks", *BASE}


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """A named column: the dtype of its values, and what has one of them: a token, a span or a record."""

    dtype: str
    per: Literal["token", "span", "record"]

    def as_read(self) -> Column:
        """Return what readers see, strings as int32 numbers."""
        is_text = self.dtype == STRING
        return Column("int32" if is_text else self.dtype, self.per, is_text)


def is_column_name(name: object) -> bool:
    """Return whether a named column may be called that: a plain word that is part of a file's name.

    >>> is_column_name("weights"), is_column_name("spans"), is_column_name("../x")
    (True, False, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name not in _TAKEN


def dictionary_of(name: str) -> tuple[str, str]:
    """Return the arrays that hold the strings of a column: UTF-8 bytes, and where in them each begins."""
    return f"{name}.words", f"{name}.word_offsets"


def group_begins(group: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each record begins something new, a group or itself alone: bool[N].

    >>> group_begins(np.array([0, 0, -1, -1, 1]))
    array([ True, False,  True,  True,  True])
    """
    begins: NDArray[np.bool_] = np.ones(len(group), bool)
    begins[1:] = (group[1:] != group[:-1]) | (group[1:] < 0)
    return begins


def array_dtypes(ids: str, columns: Mapping[str, ColumnEntry]) -> dict[str, str]:
    """Return the dtype of each array of a shard, in the order in which files and hashes have them.

    >>> list(array_dtypes("uint16", {"kind": ColumnEntry("string", "record")}))[-4:]
    ['supervised', 'kind', 'kind.words', 'kind.word_offsets']
    """
    dtypes = {"input_ids": ids, **BASE}
    for name in sorted(columns):
        if columns[name].dtype == STRING:
            words, offsets = dictionary_of(name)
            dtypes |= {name: "int32", words: "uint8", offsets: "int64"}
        else:
            dtypes[name] = columns[name].dtype
    return dtypes
