"""Where each row goes in padded batches: lengths and columns only, no token is read (but a kept end token)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Parcel, Scattered

__all__ = ["PaddingSide", "RowLayout", "Tails", "Truncation", "lay_out"]

Truncation = Literal["right", "left", "keep_end", "error"]
PaddingSide = Literal["right", "left"]


class Tails(NamedTuple):
    """Tokens that are placed after the copied ones: an appended end token, or the row's own last token.

    Letter: M, the rows that have a tail.

    Attributes:
        rows: The numbers of the rows that have a tail, int64[M], rising; None if every row has one.
        tokens: The tail of each of these rows, int64[M].
        appended: Whether tails are an end token added to the rows, rather than kept from behind a cut.
    """

    rows: IntArray | None
    tokens: IntArray
    appended: bool

    def numbers(self) -> IntArray:
        """Return the numbers of the rows that have a tail, int64[M]."""
        return np.arange(len(self.tokens)) if self.rows is None else self.rows


class RowLayout(NamedTuple):
    """Where the tokens of each row go in the cells of some padded batches, which are numbered through.

    A row becomes a sequence: `copied[i]` tokens from its token `cut[i]` on, then its tail, if it has one. The
    inputs lack a sequence's last `shift` tokens and the labels its first `shift`, which leaves `real[i]` cells
    in both, from cell `places[i]` on. Letters: R, the rows of all batches; C, the number of batches.

    Attributes:
        copied: The number of tokens copied from each row, int64[R].
        real: The number of cells that each row fills, int64[R].
        places: The first cell that each row fills, int64[R].
        first: The first cell of each row, padding counted, int64[R].
        stops: The cell after each row, padding counted, int64[R].
        tails: The tokens placed after the copied ones; None if no row has one.
        cut: The number of tokens cut on the left of each row, int64[R]; None if none are.
        edges: The rows of each batch, int64[C+1]; see `Parcel`.
        counts: The rows of each batch as a list.
        columns: The width of each batch as a list.
        left: Whether padding lies on the left.
        shift: 1 if labels are the next token, else 0.
    """

    copied: IntArray
    real: IntArray
    places: IntArray
    first: IntArray
    stops: IntArray
    tails: Tails | None
    cut: IntArray | None
    edges: IntArray
    counts: list[int]
    columns: list[int]
    left: bool
    shift: int

    @property
    def cells(self) -> int:
        """The number of cells of all batches together."""
        return int(self.stops[-1])

    @property
    def sequences(self) -> IntArray:
        """The number of tokens of each sequence, its tail included, int64[R]."""
        return _with_tails(self.copied, self.tails)

    @property
    def is_rectangle(self) -> bool:
        """Whether rows of one length fill all cells."""
        return len(set(self.columns)) == 1 and int(self.real.min()) == self.columns[0]

    def num_tokens(self) -> IntArray:
        """Return the cells of each batch that hold tokens, int64[C]."""
        return np.add.reduceat(self.real, self.edges[:-1])

    def filled_first(self) -> IntArray:
        """Return the rows of each batch that have a token in the first column, int64[C]."""
        filled = (self.real > 0) & (self.places == self.first)
        return np.add.reduceat(filled, self.edges[:-1], dtype=np.int64)

    def padding(self) -> tuple[IntArray, IntArray]:
        """Return where the padding of each row begins and ends, int64[R] both."""
        return (self.first, self.places) if self.left else (self.places + self.real, self.stops)

    def for_labels(self, labels: Scattered) -> RowLayout:
        """Return the same places for labels, one a token; a token kept from a row's end takes its label along."""
        tails = self.tails
        if tails is None or tails.appended:
            return self
        return self._replace(tails=tails._replace(tokens=_row_ends(labels, tails.numbers())))


class _Cut(NamedTuple):
    """The rows after truncation: see `RowLayout`, whose names these are."""

    copied: IntArray
    tails: Tails | None
    cut: IntArray | None


def lay_out(
    parcel: Parcel,
    *,
    shift: int,
    end_token_id: int | None,
    max_length: int | None,
    truncation: Truncation,
    padding_side: PaddingSide,
    pad_to_multiple_of: int,
) -> RowLayout:
    """Cut, extend and place the rows of some batches.

    Raises:
        CollateError: a row too long for `truncation="error"` or for the width the plan fixed.
    """
    copied, edges, cut = parcel.tokens.lengths, parcel.edges, None
    tails = None if end_token_id is None else _appended(end_token_id, parcel.record_ids)
    limit = None if max_length is None else max_length + shift
    if limit is not None and int(np.maximum.reduce(copied)) + (tails is not None) > limit:
        copied, tails, cut = _truncate(parcel.tokens, tails, limit, truncation)
    real = _filled(copied, tails, shift)
    left = padding_side == "left"
    counts = edges[1:] - edges[:-1]
    columns = _columns(np.maximum.reduceat(real, edges[:-1]), parcel.widths, max_length, pad_to_multiple_of)
    widths = columns.repeat(counts)
    stops = widths.cumsum()
    first = stops - widths
    return RowLayout(
        copied=copied,
        real=real,
        places=stops - real if left else first,
        first=first,
        stops=stops,
        tails=tails,
        cut=cut,
        edges=edges,
        counts=counts.tolist(),
        columns=columns.tolist(),
        left=left,
        shift=shift,
    )


def _appended(end_token_id: int, record_ids: IntArray) -> Tails:
    """An end token for each row but the filler rows."""
    real = record_ids >= 0
    rows = None if np.count_nonzero(real) == len(real) else np.flatnonzero(real)
    tokens = np.empty(len(record_ids) if rows is None else len(rows), np.int64)
    tokens.fill(end_token_id)
    return Tails(rows, tokens, appended=True)


def _filled(copied: IntArray, tails: Tails | None, shift: int) -> IntArray:
    """int64[R]: the cells that each row fills, its tail included."""
    if not shift:
        return _with_tails(copied, tails)
    if tails is not None and tails.rows is None:
        return copied
    return np.maximum(_with_tails(copied, tails) - shift, 0)  # filler rows have nothing to shift


def _with_tails(copied: IntArray, tails: Tails | None) -> IntArray:
    """int64[R]: the number of tokens of each row and its tail."""
    if tails is None:
        return copied
    if tails.rows is None:
        return copied + 1
    sequences = copied.copy()
    sequences[tails.rows] += 1
    return sequences


def _truncate(rows: Scattered, tails: Tails | None, limit: int, truncation: Truncation) -> _Cut:
    """The rows cut to sequences of at most `limit` tokens.

    With an end token E and limit 3, the row [1 2 3 4] becomes
    right [1 2 3], left [3 4 E], keep_end [1 2 E].
    """
    lengths = rows.lengths
    sequences = _with_tails(lengths, tails)
    over = sequences > limit
    if truncation == "error" and over.any():
        i = int(over.argmax())
        raise CollateError(
            f"row {i} has {sequences[i]} tokens, more than the {limit} that max_length leaves room for: "
            "choose a truncation or a longer max_length"
        )
    if truncation == "left":
        cut = np.where(over, sequences - limit, 0)
        return _Cut(lengths - cut, tails, cut)
    if truncation == "right":
        if tails is not None:
            numbers = tails.numbers()
            kept = ~over[numbers]
            tails = tails._replace(rows=numbers[kept], tokens=tails.tokens[kept])
        return _Cut(np.minimum(lengths, limit), tails, None)
    if tails is None:
        numbers = np.flatnonzero(over)
        tails = Tails(numbers, _row_ends(rows, numbers), appended=False)
    return _Cut(np.where(over, limit - 1, lengths), tails, None)


def _row_ends(rows: Scattered, numbers: IntArray) -> IntArray:
    """int64[M]: the last value of each of the rows `numbers: int64[M]`."""
    return rows.values_at(numbers, rows.lengths[numbers] - 1)


def _columns(longest: IntArray, widths: IntArray | None, max_length: int | None, multiple: int) -> IntArray:
    """int64[C]: the longest row of each batch, or the width the plan fixed, rounded up."""
    if widths is None:
        columns = np.maximum(longest, 1)  # a batch of fillers has a column too
    else:
        columns = widths
        wrong = longest > widths
        if wrong.any():
            i = int(wrong.argmax())
            raise CollateError(
                f"a row needs {longest[i]} columns but the plan fixed {widths[i]}: store records with their end "
                "token (append_eot=True) instead of adding one here, or widen the buckets"
            )
    if max_length is not None:
        columns = np.minimum(columns, max_length)
    return columns if multiple == 1 else -(-columns // multiple) * multiple
