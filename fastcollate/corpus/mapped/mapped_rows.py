"""Where the rows of foreign token files lie: what a format tells, checked before anything is read by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.copied_rows import Arrays, CopiedRows
from fastcollate.corpus.mapped.hashed_files import HashedFile
from fastcollate.corpus.mapped.mapped_files import broken
from fastcollate.errors import StoreError
from fastcollate.ragged import IntArray, Ragged, Rows

__all__ = ["Layout", "MappedRows", "Piece", "as_tokens", "check_piece", "rows_in_bytes"]

_AT_ONCE = 1 << 20  # rows whose places are looked at together: an index need not fit in memory
_TOKENS = {np.dtype(kind) for kind in (np.uint16, np.uint32, np.int64)}
_LABELS = {np.dtype(kind) for kind in (np.int32, np.int64)}
_VIEWED = {  # what lies aligned and is viewed, and as what
    False: {np.dtype(kind): np.dtype(seen) for kind, seen in (("u2", "u2"), ("u4", "u4"), ("i4", "u4"))},
    True: {np.dtype(kind): np.dtype(kind) for kind in ("i4", "i8")},
}


class MappedRows(NamedTuple):
    """Rows anywhere in a flat array: row `i` begins at value `starts[i] // step` and has `lengths[i]` values.

    Attributes:
        values: The array, usually a view of a mapped file; contiguous and in the machine's byte order.
        starts: The place of each row, any integers [N], such as an array of a mapped index.
        lengths: The number of each row's values, any integers [N].
        step: What `starts` count: 1 is values, and the size of a value in bytes is bytes.
    """

    values: NDArray[Any]
    starts: NDArray[np.integer[Any]]
    lengths: NDArray[np.integer[Any]]
    step: int = 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    @classmethod
    def of(cls, ragged: Ragged) -> MappedRows:
        """Return all rows of a `Ragged`."""
        return cls(ragged.values, ragged.offsets[:-1], ragged.lengths)

    def at(self, places: IntArray) -> Rows:
        """Return the rows `places: int64[M]`, without a copy of their values."""
        starts = self.starts[places].astype(np.int64, copy=False)
        lengths = self.lengths[places].astype(np.int64, copy=False)
        return Rows(self.values, starts if self.step == 1 else starts // self.step, lengths)


class Piece(NamedTuple):
    """A `Piece` is the rows of one file, or of one array in it.

    Attributes:
        file: The file, for messages.
        tokens: The token ids, uint16|uint32|int64.
        labels: One label for each token, int32|int64, in rows as long as those of the tokens; None where the file
            has none.
    """

    file: Path
    tokens: MappedRows | CopiedRows
    labels: MappedRows | CopiedRows | None = None


class Layout(NamedTuple):
    """A `Layout` is all that a format says of its files.

    Attributes:
        format: The name of the format, for people.
        files: Every file, in the order of the pieces, their indexes among them.
        pieces: The rows; records are numbered through the pieces one after another.
        eot_token_id: The end-of-text token, None where neither the files nor the caller name it.
        order: Which row each record is, int64[N], where records do not lie in the order of the pieces; else None.
        noted: What the files say beside, by name, such as the tokenizer; `info` shows it.
        hashed: The files that their writer hashed.
    """

    format: str
    files: Sequence[Path]
    pieces: Sequence[Piece]
    eot_token_id: int | None = None
    order: IntArray | None = None
    noted: Mapping[str, str | int] = {}
    hashed: Sequence[HashedFile] = ()


def as_tokens(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as one of the dtypes that tokens have: a view, where one of their size is.

    Ids of 8 bits, and int16, become uint16 and uint32: copies, of what few files have. What is no integer stays as
    it is, and no piece is made of it.

    >>> as_tokens(np.array([7], np.int32)), as_tokens(np.array([7], np.uint8))
    (array([7], dtype=uint32), array([7], dtype=uint16))
    """
    if values.dtype in _TOKENS:
        return values
    if values.dtype == np.int32:
        return values.view(np.uint32)
    if values.dtype == np.uint64:
        return values.view(np.int64)
    if values.dtype == np.uint8:
        return values.astype(np.uint16)
    if values.dtype.kind == "i" and values.dtype.itemsize < 4:
        return values.astype(np.uint32)  # where a negative id becomes none that any vocabulary has
    return values


def check_piece(piece: Piece) -> None:
    """Make sure that no row of a piece reaches outside its values.

    Raises:
        StoreCorruptError: A row does, or has another number of labels than tokens; it is named.
    """
    _check_rows(piece.file, piece.tokens, _TOKENS)
    if piece.labels is None:
        return
    _check_rows(piece.file, piece.labels, _LABELS)
    if not np.array_equal(piece.tokens.lengths, piece.labels.lengths):
        row = int(np.flatnonzero(piece.tokens.lengths != piece.labels.lengths)[0])
        tokens, labels = int(piece.tokens.lengths[row]), int(piece.labels.lengths[row])
        raise broken(piece.file, f"row {row} has {labels} labels for {tokens} tokens: it needs one for each")


def _check_rows(file: Path, rows: MappedRows | CopiedRows, dtypes: set[np.dtype[Any]]) -> None:
    values, starts, lengths = rows.values, rows.starts, rows.lengths
    if rows.dtype not in dtypes or values.ndim != 1:
        raise broken(file, f"its values are {rows.dtype}, and tokens are flat integers")
    if len(starts) != len(lengths):
        raise broken(file, f"{len(starts)} rows have a place and {len(lengths)} a length")
    # a row of `size` units a value begins at a unit of them, and ends at one: bytes, or values of an array of such
    step, size = (rows.step, 1) if isinstance(rows, MappedRows) else (1, rows.stored.itemsize)
    count = len(values)
    for first in range(0, len(starts), _AT_ONCE):
        begins, sizes = (part[first : first + _AT_ONCE] for part in (starts, lengths))
        far = (begins < 0) | (begins > count * step) | (sizes < 0) | (sizes > count)
        if not far.any():  # else the sums below may wrap around
            far = begins.astype(np.int64) // step + sizes.astype(np.int64) * size > count
            if step > 1:
                far |= begins % step != 0
        if far.any():
            row = int(far.argmax())
            raise broken(
                file,
                f"row {first + row} has {sizes[row]} values from {begins[row]} on"
                f"{'' if step == size else ' (in bytes)'}, and the file has {count} of {values.itemsize} bytes",
            )


def rows_in_bytes(
    file: Path, data: NDArray[np.uint8], arrays: Arrays, *, labels: bool = False
) -> MappedRows | CopiedRows:
    """Return rows that lie at bytes of a file: viewed where they can be, else copied when they are read.

    Args:
        file: The file, for messages.
        data: Its bytes, mapped.
        arrays: Where the rows lie.
        labels: Whether they are labels; by default they are token ids.

    Raises:
        StoreError: Labels or ids are no integers.
    """
    dtype, starts, counts = arrays
    if dtype.kind not in "iu" or not dtype.isnative:
        raise StoreError(f"{file} has {'labels' if labels else 'tokens'} of {dtype}: they must be integers")
    seen, size = _VIEWED[labels].get(dtype), dtype.itemsize
    if seen is None or bool((starts % size).any()):
        return CopiedRows(file, data, starts, counts, dtype, labels)
    return MappedRows(data[: len(data) // size * size].view(dtype).view(seen), starts, counts, step=size)
