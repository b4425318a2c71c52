"""Where each row goes in a batch: lengths and columns only, no token is read (but a kept end token)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch

__all__ = ["NO_TAIL", "RowLayout", "Truncation", "lay_out"]

NO_TAIL = int(np.iinfo(np.int64).min)  # no token, and no label either, has this value
Truncation = Literal["right", "left", "keep_end", "error"]


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where the tokens of each row go in a batch of `columns` columns.

    A row is a sequence: `copied[i]` tokens from `values[starts[i]:]`, then the token `tails[i]` unless that is
    NO_TAIL. The inputs lack its last `shift` tokens and the labels its first `shift`, which leaves `real[i]`
    columns in both, from column `lead[i]` on.

    Attributes:
        starts, copied, real: int64[B].
        tails: int64[B], or None where no row has one.
        lead: int64[B] with padding on the left, or None (all rows begin at column 0).
        columns: T.
        shift: 1 when labels are the next token, else 0.
        cut: int64[B], tokens cut on the left of each row, or 0.
        stored: int64[B], the rows' lengths before anything was cut or added.
        appended: whether tails are an end token added to the rows, rather than their own last token.
        shortest: the least of `real`.
    """

    starts: IntArray
    copied: IntArray
    real: IntArray
    tails: IntArray | None
    lead: IntArray | None
    columns: int
    shift: int
    cut: IntArray | int
    stored: IntArray
    appended: bool
    shortest: int

    def for_labels(self, labels: IntArray) -> RowLayout:
        """The same places for `labels: int64[V]`; a token kept from a row's end takes its label along."""
        if self.tails is None or self.appended:
            return self
        ends = labels[self.starts + np.maximum(self.stored, 1) - 1]
        return replace(self, tails=np.where(self.tails != NO_TAIL, ends, NO_TAIL))


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
    starts, copied = batch.starts, batch.lengths
    tails: IntArray | None = None
    cut: IntArray | int = 0
    if end_token_id is not None:
        tails = np.where(batch.record_ids >= 0, end_token_id, NO_TAIL)
    limit = None if max_length is None else max_length + shift
    if limit is not None and int(copied.max()) + (tails is not None) > limit:
        starts, copied, tails, cut = _truncate(batch, tails, limit, truncation)
    total = copied if tails is None else copied + (tails != NO_TAIL)
    real = np.maximum(total - shift, 0) if shift else total
    columns = _columns(batch, int(real.max()), pad_to_multiple_of)
    return RowLayout(
        starts=starts,
        copied=copied,
        real=real,
        tails=tails,
        lead=columns - real if padding_side == "left" else None,
        columns=columns,
        shift=shift,
        cut=cut,
        stored=batch.lengths,
        appended=end_token_id is not None,
        shortest=int(real.min()),
    )


def _truncate(
    batch: RaggedBatch, tails: IntArray | None, limit: int, truncation: Truncation
) -> tuple[IntArray, IntArray, IntArray | None, IntArray | int]:
    """Starts, copied, tails and tokens cut on the left, for sequences of at most `limit` tokens.

    With an end token E and limit 3, the row [1 2 3 4] becomes
    right [1 2 3], left [3 4 E], keep_end [1 2 E].
    """
    lengths = batch.lengths
    total = lengths if tails is None else lengths + (tails != NO_TAIL)
    over = total > limit
    if truncation == "error" and over.any():
        i = int(over.argmax())
        raise CollateError(
            f"row {i} has {total[i]} tokens, more than the {limit} that max_length leaves room for: "
            "choose a truncation or a longer max_length"
        )
    if truncation == "left":
        cut = np.where(over, total - limit, 0)
        return batch.starts + cut, lengths - cut, tails, cut
    if truncation == "right":
        kept = None if tails is None else np.where(over, NO_TAIL, tails)
        return batch.starts, np.minimum(lengths, limit), kept, 0
    ends = batch.values[batch.starts + np.maximum(lengths, 1) - 1].astype(np.int64)
    kept = np.where(over, ends, NO_TAIL) if tails is None else tails
    return batch.starts, np.where(over, limit - 1, lengths), kept, 0


def _columns(batch: RaggedBatch, longest: int, multiple: int) -> int:
    """T: the longest row, or the width the plan fixed, rounded up."""
    if batch.width is not None and longest > batch.width:
        raise CollateError(
            f"a row needs {longest} columns but the plan fixed {batch.width}: store records with their end token "
            "(append_eot=True) instead of adding one here, or widen the buckets"
        )
    columns = longest if batch.width is None else batch.width
    return -(-columns // multiple) * multiple
