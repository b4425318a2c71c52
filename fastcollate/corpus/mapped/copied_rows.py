"""Rows of foreign files that cannot be viewed as tokens, and are copied when they are read: a batch at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.row_checks import NO_TARGET
from fastcollate.errors import StoreCorruptError
from fastcollate.ragged import IntArray, Rows, offsets_of

__all__ = ["Arrays", "CopiedRows"]

_MOST = 2**32 - 1  # the highest token id


class Arrays(NamedTuple):
    """Where an array of each row lies in a file.

    Attributes:
        dtype: The dtype of the values.
        starts: The byte where the values of each row begin, int64[N].
        counts: The number of each row's values, int64[N].
    """

    dtype: np.dtype[Any]
    starts: IntArray
    counts: IntArray


class CopiedRows(NamedTuple):
    """Rows whose values lie at any byte of a file, or have a dtype that tokens have not.

    Attributes:
        file: The file, for messages.
        values: Its bytes, mapped: uint8[bytes].
        starts: The byte where each row begins, int64[N].
        lengths: The number of each row's values, int64[N].
        stored: The dtype of the values in the file.
        labels: Whether they are labels, int32|int64; else they are token ids, uint16|uint32.
    """

    file: Path
    values: NDArray[np.uint8]
    starts: IntArray
    lengths: IntArray
    stored: np.dtype[Any]
    labels: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values as they are read."""
        size = self.stored.itemsize
        if self.labels:
            return np.dtype(np.int32 if size < 4 or self.stored == np.int32 else np.int64)
        return np.dtype(np.uint16 if self.stored in (np.uint8, np.uint16) else np.uint32)

    def at(self, places: IntArray) -> Rows:
        """Return the rows `places: int64[M]`, copied side by side.

        Raises:
            StoreCorruptError: A value is neither a token id nor, among labels, -100; its row is named.
        """
        lengths, size = self.lengths[places], self.stored.itemsize
        edges = offsets_of(lengths)
        values = Rows(self.values, self.starts[places], lengths * size).joined().view(self.stored)
        if self.labels or self.stored != self.dtype:
            self._check(values, edges, places)
        return Rows(values.astype(self.dtype, copy=False), edges[:-1], lengths)

    def _check(self, values: NDArray[Any], edges: IntArray, places: IntArray) -> None:
        """Make sure that values are token ids, or among labels ids and what is no target."""
        if not len(values) or 0 <= int(values.min()) <= int(values.max()) <= _MOST:
            return
        wrong = (values < 0) | (values > _MOST)
        if self.labels:
            wrong &= values != NO_TARGET
        if wrong.any():
            first = int(wrong.argmax())
            row = int(places[np.searchsorted(edges, first, "right") - 1])
            what = f"a label is a token id, or {NO_TARGET} where there is no target" if self.labels else ""
            raise StoreCorruptError(
                f"{self.file}: row {row} has the {'label' if self.labels else 'token id'} {values[first]}: "
                f"{what or 'token ids are numbered from 0'}; write the file again"
            )
