"""Where each row goes in a batch: lengths and columns only, no token is read (but a kept end token)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch, Rows

__all__ = ["PaddingSide", "RowLayout", "Tails", "Truncation", "lay_out"]

# Slicing a row costs about as much as masking this many more columns of it, and masking about as much to set
# up as seven rows (measured with benchmarks/bench_collate.py).
_COLUMNS_PER_ROW = 600
_SET_UP = 7 * _COLUMNS_PER_ROW
_NEARLY = 0.9
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
    """Where the tokens of each row go in a batch of `columns` columns.

    A row becomes a sequence: `copied[i]` tokens from `values[starts[i]:]`, then its tail, if it has one. The
    inputs lack a sequence's last `shift` tokens and the labels its first `shift`, which leaves `real[i]` columns
    in both, from column `lead[i]` on.

    Attributes:
        starts: The place of each row's first copied token, int64[B].
        copied: The number of tokens copied from each row, int64[B].
        real: The number of columns that each row fills, int64[B].
        lead: The first column that each row fills, int64[B]; None if every row begins at column 0.
        tails: The tokens placed after the copied ones; None if no row has one.
        cut: The number of tokens cut on the left of each row, int64[B]; None if none are.
        columns: The width of the batch, T.
        shift: 1 if labels are the next token, else 0.
        counts: `real` as a list: for a few dozen rows Python's own loops are faster than NumPy's set-up.
        shortest: The least of `real`.
        num_tokens: The sum of `real`.
        mostly_even: Whether it pays to treat the batch as one rectangle and mask it, rather than slice each row.
    """

    starts: IntArray
    copied: IntArray
    real: IntArray
    lead: IntArray | None
    tails: Tails | None
    cut: IntArray | None
    columns: int
    shift: int
    counts: list[int]
    shortest: int
    num_tokens: int
    mostly_even: bool

    @property
    def nearly_full(self) -> bool:
        """Whether a batch is so full that its padding may travel too, to save the host joining rows."""
        return self.tails is None and _NEARLY * len(self.counts) * self.columns <= self.num_tokens

    @property
    def sequences(self) -> IntArray:
        """The number of tokens of each sequence, its tail included, int64[B]."""
        return _with_tails(self.copied, self.tails)

    def filled_first(self) -> int:
        """Return the number of rows with a token in the first column."""
        if self.lead is not None:
            return int(np.count_nonzero(self.lead == 0))
        return len(self.counts) if self.shortest else sum(map(bool, self.counts))

    def for_labels(self, labels: Rows) -> RowLayout:
        """Return the same places for labels, one a token; a token kept from a row's end takes its label along."""
        tails = self.tails
        if tails is not None and not tails.appended:
            tails = tails._replace(tokens=_row_ends(labels, tails.numbers()))
        starts = labels.starts if self.cut is None else labels.starts + self.cut
        return self._replace(starts=starts, tails=tails)


class _Cut(NamedTuple):
    """The rows after truncation: see `RowLayout`, whose names these are."""

    starts: IntArray
    copied: IntArray
    tails: Tails | None
    cut: IntArray | None


def lay_out(
    batch: RaggedBatch,
    *,
    shift: int,
    end_token_id: int | None,
    max_length: int | None,
    truncation: Truncation,
    padding_side: PaddingSide,
    pad_to_multiple_of: int,
) -> RowLayout:
    """Cut, extend and place the rows of a batch.

    Raises:
        CollateError: a row too long for `truncation="error"` or for the width the plan fixed.
    """
    starts, copied, cut = batch.tokens.starts, batch.tokens.lengths, None
    tails = None if end_token_id is None else _appended(end_token_id, batch.record_ids)
    limit = None if max_length is None else max_length + shift
    if limit is not None and int(np.maximum.reduce(copied)) + (tails is not None) > limit:
        starts, copied, tails, cut = _truncate(batch.tokens, tails, limit, truncation)
    real, counts = _filled(copied, tails, shift)
    shortest = min(counts)
    columns = _columns(batch.width, max(counts), max_length, pad_to_multiple_of)
    spread = columns - shortest
    return RowLayout(
        starts=starts,
        copied=copied,
        real=real,
        lead=columns - real if padding_side == "left" else None,
        tails=tails,
        cut=cut,
        columns=columns,
        shift=shift,
        counts=counts,
        shortest=shortest,
        num_tokens=sum(counts),
        mostly_even=spread == 0 or len(counts) * (_COLUMNS_PER_ROW - spread) >= _SET_UP,
    )


def _appended(end_token_id: int, record_ids: IntArray) -> Tails:
    """An end token for each row but the filler rows, which come last."""
    fillers = record_ids[-1] < 0
    rows = np.flatnonzero(record_ids >= 0) if fillers else None
    tokens = np.empty(len(record_ids) if rows is None else len(rows), np.int64)
    tokens.fill(end_token_id)
    return Tails(rows, tokens, appended=True)


def _filled(copied: IntArray, tails: Tails | None, shift: int) -> tuple[IntArray, list[int]]:
    """int64[B]: the columns that each row fills, its tail included; and the same as a list."""
    if tails is not None and tails.rows is not None:
        real = _with_tails(copied, tails) - shift
    else:
        more = (tails is not None) - shift
        real = copied + more if more else copied
    counts: list[int] = real.tolist()
    if min(counts) < 0:  # filler rows
        real = np.maximum(real, 0)
        counts = real.tolist()
    return real, counts


def _with_tails(copied: IntArray, tails: Tails | None) -> IntArray:
    """int64[B]: the number of tokens of each row and its tail."""
    if tails is None:
        return copied
    if tails.rows is None:
        return copied + 1
    sequences = copied.copy()
    sequences[tails.rows] += 1
    return sequences


def _truncate(rows: Rows, tails: Tails | None, limit: int, truncation: Truncation) -> _Cut:
    """The rows cut to sequences of at most `limit` tokens.

    With an end token E and limit 3, the row [1 2 3 4] becomes
    right [1 2 3], left [3 4 E], keep_end [1 2 E].
    """
    starts, lengths = rows.starts, rows.lengths
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
        return _Cut(starts + cut, lengths - cut, tails, cut)
    if truncation == "right":
        if tails is not None:
            numbers = tails.numbers()
            kept = ~over[numbers]
            tails = tails._replace(rows=numbers[kept], tokens=tails.tokens[kept])
        return _Cut(starts, np.minimum(lengths, limit), tails, None)
    if tails is None:
        numbers = np.flatnonzero(over)
        tails = Tails(numbers, _row_ends(rows, numbers), appended=False)
    return _Cut(starts, np.where(over, limit - 1, lengths), tails, None)


def _row_ends(rows: Rows, numbers: IntArray) -> IntArray:
    """int64[M]: the last value of each of the rows `numbers: int64[M]`."""
    ends: NDArray[np.integer] = rows.values[rows.starts[numbers] + rows.lengths[numbers] - 1]
    return ends.astype(np.int64)


def _columns(width: int | None, longest: int, max_length: int | None, multiple: int) -> int:
    """T: the longest row, or the width the plan fixed, rounded up."""
    if width is not None and longest > width:
        raise CollateError(
            f"a row needs {longest} columns but the plan fixed {width}: store records with their end token "
            "(append_eot=True) instead of adding one here, or widen the buckets"
        )
    columns = max(longest, 1) if width is None else width  # a batch of fillers has a column too
    if max_length is not None:
        columns = min(columns, max_length)
    return -(-columns // multiple) * multiple
