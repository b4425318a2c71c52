"""One shard as its readers see it: rows of tokens and what lies beside them, checked before they are used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.store.shards.mapped_arrays import MappedArrays
from fastcollate.store.shards.shard_arrays import STRING, USUAL

__all__ = ["Beside", "Shard"]


class Beside(NamedTuple):
    """A column beside the tokens: record `i` has `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: IntArray


class Shard:
    """One shard, whose files are mapped when they are first looked at, and then checked before they are used.

    So no record reaches outside its arrays, whatever the files hold; whether they hold what was written is for
    their hashes to say.

    Args:
        arrays: Its arrays.
        renumber: What the codes of a column of strings become in the whole store: `renumber(name)` is int32[M].

    Attributes:
        arrays: Its arrays, as they lie in the files.
        records: How many records it has.
        row_base: What the rows of the source count from.
    """

    def __init__(self, arrays: MappedArrays, renumber: Callable[[str], NDArray[np.int32]]) -> None:
        self.records, self.row_base = arrays.entry.records, arrays.entry.row_base
        self.arrays = arrays
        self._renumber = renumber
        self._beside: dict[str, Beside] = {}

    @cached_property
    def offsets(self) -> IntArray:
        """Where the tokens of each record begin, and those of the last one end, int64[N+1].

        Raises:
            StoreCorruptError: The records do not lie side by side, or one is longer than any in the manifest.
            StorageError: The system does not let us read or map the file.
        """
        anything = np.broadcast_to(np.zeros(1, np.uint16), self.arrays.entry.tokens)
        rows = self._ragged(anything, "offsets")
        lengths = rows.lengths
        if int(lengths.min()) < self.arrays.kind.shortest or int(lengths.max()) > self.arrays.kind.longest:
            raise self.arrays.corrupt("offsets", "a record has a length that none has by the manifest")
        return rows.offsets

    @cached_property
    def tokens(self) -> Ragged:
        """The token ids, uint16|uint32, of a shard whose tokens are on this machine.

        Raises:
            StoreCorruptError: The records do not lie side by side, or one is longer than any in the manifest.
            StorageError: The system does not let us read or map the file.
        """
        return Ragged(self.arrays["input_ids"], self.offsets)

    @cached_property
    def spans(self) -> Ragged:
        """The supervised parts as flat pairs, uint32, each inside its record.

        Raises:
            StoreCorruptError: They do not lie side by side, or one is not inside its record.
            StorageError: The system does not let us read or map the file.
        """
        spans = self._ragged(self.arrays["spans"], "span_offsets")
        if len(spans.values):
            counts, (starts, stops) = spans.lengths, spans.values.reshape(-1, 2).T
            whole = not bool((counts & 1).any())
            if not whole or bool(
                ((starts > stops) | (stops > np.repeat(np.diff(self.offsets), counts // 2))).any()
            ):
                raise self.arrays.corrupt("spans", "a span is not inside its record")
        return spans

    def beside(self, name: str) -> Beside:
        """Return a named column; strings are codes into those of the whole store."""
        if name not in self._beside:
            column = self.arrays.kind.columns[name]
            offsets = self._offsets(column.per)
            if name not in self.arrays:
                values = np.full(int(offsets[-1]), USUAL[name], column.dtype)
            elif column.dtype == STRING:
                codes, table = self.arrays[name], self._renumber(name)
                if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(table):
                    raise self.arrays.corrupt(name, f"a code of {name} stands for no string")
                values = table[codes]
            else:
                values = self.arrays[name]
            self._beside[name] = Beside(values, offsets)
        return self._beside[name]

    def _ragged(self, values: NDArray[Any], offsets: str) -> Ragged:
        """Return rows that lie side by side, from the first value to the last one."""
        try:
            rows = Ragged(values, self.arrays[offsets])
        except InputError as error:
            raise self.arrays.corrupt(offsets, str(error)) from error
        if rows.offsets[0] != 0 or rows.offsets[-1] != len(rows.values):
            raise self.arrays.corrupt(offsets, "its offsets do not reach from 0 to the end")
        return rows

    def _offsets(self, per: str) -> IntArray:
        if per == "token":
            return self.offsets
        return self.spans.offsets // 2 if per == "span" else np.arange(self.records + 1)
