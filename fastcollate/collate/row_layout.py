"""Where each row goes in a batch: lengths and columns only, no token is read (but a kept end token)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch, Rows

__all__ = ["NO_TAIL", "RowLayout", "Truncation", "lay_out"]

NO_TAIL = int(np.iinfo(np.int64).min)  # no token, and no label either, has this value
# Slicing a row costs about as much as masking this many more columns of it, and masking about as much to set
# up as seven rows (measured with benchmarks/bench_collate.py).
_COLUMNS_PER_ROW = 600
_SET_UP = 7 * _COLUMNS_PER_ROW
_NEARLY = 0.9
Truncation = Literal["right", "left", "keep_end", "error"]


class RowLayout(NamedTuple):
    """Where the tokens of each row go in a batch of `columns` columns.

    A row is a sequence: `copied[i]` tokens from `values[starts[i]:]`, then its tail, if it has one. The inputs
    lack its last `shift` tokens and the labels its first `shift`, which leaves `real[i]` columns in both,
    from column `lead[i]` on.

    Attributes:
        starts, copied, real: int64[B].
        tails: the one token that ends every row; int64[B] where they differ (NO_TAIL: that row has none); None
            where no row has one.
        lead: int64[B] with padding on the left, or None (all rows begin at column 0).
        columns: T.
        shift: 1 when labels are the next token, else 0.
        cut: int64[B], tokens cut on the left of each row, or 0.
        stored: int64[B], the rows' lengths before anything was cut or added.
        appended: whether tails are an end token added to the rows, rather than their own last token.
        counts: `real` as a list: for a few dozen rows Python's own loops are faster than NumPy's set-up.
        shortest, tokens: the least of `real`, and their sum.
    """

    starts: IntArray
    copied: IntArray
    real: IntArray
    tails: IntArray | int | None
    lead: IntArray | None
    columns: int
    shift: int
    cut: IntArray | int
    stored: IntArray
    appended: bool
    counts: list[int]
    shortest: int
    tokens: int

    @property
    def mostly_even(self) -> bool:
        """Whether it pays to treat the batch as one rectangle and mask it, rather than slice each row."""
        spread = self.columns - self.shortest
        return spread == 0 or len(self.counts) * (_COLUMNS_PER_ROW - spread) >= _SET_UP

    @property
    def nearly_full(self) -> bool:
        """Whether a batch is so full that its padding may travel too, to save the host joining rows."""
        return self.tails is None and _NEARLY * len(self.counts) * self.columns <= self.tokens

    @property
    def filled_first(self) -> int:
        """Rows with a token in the first column."""
        if self.lead is not None:
            return int(np.count_nonzero(self.lead == 0))
        return len(self.counts) if self.shortest else sum(map(bool, self.counts))

    @property
    def sequences(self) -> IntArray:
        """int64[B]: tokens of each sequence, its tail included."""
        return self.copied if self.tails is None else self.copied + _has_tail(self.tails)

    def for_labels(self, labels: Rows) -> RowLayout:
        """The same places for labels, one a token; a token kept from a row's end takes its label along."""
        tails = self.tails
        if tails is not None and not self.appended:
            tails = _row_ends(labels, np.asarray(tails) != NO_TAIL)
        return self._replace(starts=labels.starts + self.cut, tails=tails)


def lay_out(
    batch: RaggedBatch,
    *,
    shift: int,
    end_token_id: int | None,
    max_length: int | None,
    truncation: Truncation,
    padding_side: str,
    pad_to_multiple_of: int,
) -> RowLayout:
    """Cut, extend and place the rows of a batch.

    Raises:
        CollateError: a row too long for `truncation="error"` or for the width the plan fixed.
    """
    starts, copied = batch.tokens.starts, batch.tokens.lengths
    tails: IntArray | int | None = end_token_id
    cut: IntArray | int = 0
    if tails is not None and batch.record_ids[-1] < 0:  # filler rows come last, and have no end
        tails = np.where(batch.record_ids >= 0, tails, NO_TAIL)
    limit = None if max_length is None else max_length + shift
    if limit is not None and int(np.maximum.reduce(copied)) + (tails is not None) > limit:
        starts, copied, tails, cut = _truncate(batch, tails, limit, truncation)
    extra = _has_tail(tails) - shift
    real = copied if isinstance(extra, int) and extra == 0 else np.maximum(copied + extra, 0)
    counts: list[int] = real.tolist()
    columns = _columns(batch, max(counts), max_length, pad_to_multiple_of)
    return RowLayout(
        starts,
        copied,
        real,
        tails,
        columns - real if padding_side == "left" else None,
        columns,
        shift,
        cut,
        batch.tokens.lengths,
        end_token_id is not None,
        counts,
        min(counts),
        sum(counts),
    )


def _has_tail(tails: IntArray | int | None) -> IntArray | int:
    """1 for each row with a tail, 0 for each without: one number where all are alike, else int64[B]."""
    if tails is None or isinstance(tails, int):
        return int(tails is not None)
    present: IntArray = (tails != NO_TAIL).astype(np.int64)
    return present


def _truncate(
    batch: RaggedBatch, tails: IntArray | int | None, limit: int, truncation: Truncation
) -> tuple[IntArray, IntArray, IntArray | int | None, IntArray | int]:
    """Starts, copied, tails and tokens cut on the left, for sequences of at most `limit` tokens.

    With an end token E and limit 3, the row [1 2 3 4] becomes
    right [1 2 3], left [3 4 E], keep_end [1 2 E].
    """
    starts, lengths = batch.tokens.starts, batch.tokens.lengths
    total = lengths + _has_tail(tails)
    over = total > limit
    if truncation == "error" and over.any():
        i = int(over.argmax())
        raise CollateError(
            f"row {i} has {total[i]} tokens, more than the {limit} that max_length leaves room for: "
            "choose a truncation or a longer max_length"
        )
    if truncation == "left":
        cut = np.where(over, total - limit, 0)
        return starts + cut, lengths - cut, tails, cut
    if truncation == "right":
        kept = None if tails is None else np.where(over, NO_TAIL, tails)
        return starts, np.minimum(lengths, limit), kept, 0
    last = _row_ends(batch.tokens, over) if tails is None else tails
    return starts, np.where(over, limit - 1, lengths), last, 0


def _row_ends(rows: Rows, chosen: NDArray[np.bool_]) -> IntArray:
    """int64[B]: the last value of each of the rows `chosen: bool[B]`, NO_TAIL for the others."""
    ends = np.full(len(rows), NO_TAIL)
    ends[chosen] = rows.values[rows.starts[chosen] + rows.lengths[chosen] - 1]
    return ends


def _columns(batch: RaggedBatch, longest: int, max_length: int | None, multiple: int) -> int:
    """T: the longest row, or the width the plan fixed, rounded up."""
    if batch.width is not None and longest > batch.width:
        raise CollateError(
            f"a row needs {longest} columns but the plan fixed {batch.width}: store records with their end token "
            "(append_eot=True) instead of adding one here, or widen the buckets"
        )
    columns = max(longest, 1) if batch.width is None else batch.width  # a batch of fillers has a column too
    if max_length is not None:
        columns = min(columns, max_length)
    return -(-columns // multiple) * multiple
