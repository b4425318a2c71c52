"""The strings of a store's columns, which each shard numbers for itself, numbered through all shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dictionaries"]


class _Dictionary(NamedTuple):
    """The strings of a column, and for each shard what its codes become: int32[M]."""

    words: list[str]
    tables: list[NDArray[np.int32]]


class Dictionaries:
    """The strings of all columns of strings; those of a column are read when it is first asked for.

    Args:
        readers: For each shard what returns the strings of a column of its own, in the order of their codes.

    >>> numbered = Dictionaries([lambda name: ["a", "b"], lambda name: ["b", "c"]])
    >>> numbered.words("kind"), numbered.table("kind", 1)
    (['a', 'b', 'c'], array([1, 2], dtype=int32))
    """

    def __init__(self, readers: Sequence[Callable[[str], list[str]]]) -> None:
        self._readers = readers
        self._found: dict[str, _Dictionary] = {}

    def words(self, name: str) -> list[str]:
        """Return the strings of a column, in the order in which the shards have them."""
        return self._of(name).words

    def table(self, name: str, shard: int) -> NDArray[np.int32]:
        """Return what the codes of a column in a shard become: int32[M]."""
        return self._of(name).tables[shard]

    def _of(self, name: str) -> _Dictionary:
        if name not in self._found:
            number: dict[str, int] = {}
            tables = [
                np.array([number.setdefault(word, len(number)) for word in read(name)], np.int32)
                for read in self._readers
            ]
            self._found[name] = _Dictionary(list(number), tables)
        return self._found[name]
