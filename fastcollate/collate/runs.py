"""Which labels are targets under `supervise="response"`: runs of supervised tokens, as cells of batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastcollate.collate.packed_rows.pack_layout import PackLayout
from fastcollate.collate.row_layout import RowLayout
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Parcel

__all__ = ["Runs", "runs_of_packs", "runs_of_rows"]


class Runs(NamedTuple):
    """Runs of supervised tokens in the numbered cells of batches; letter: S, their number. They rise, apart.

    Attributes:
        starts: The first cell of each run, int64[S].
        stops: The cell after each run, int64[S]; a run may be empty.
        counts: The cells of each batch in runs that a model predicts, int64[C]: all but those a row or document
            begins with.
    """

    starts: IntArray
    stops: IntArray
    counts: IntArray


def runs_of_rows(parcel: Parcel, layout: RowLayout) -> Runs:
    """Return the supervised runs of padded rows, in the cells of their labels.

    A tail that is a target is a run of its own. An appended end token always is; a token that was kept from a
    row's end is if a span reaches it.

    Raises:
        CollateError: The rows have no spans.
    """
    values, owner = _spans(parcel)
    shift, begins = layout.shift, layout.places - layout.shift  # the cell in which a row's first token would be
    ends = begins + layout.copied
    moved = begins
    for before in (parcel.cuts, layout.cut):
        moved = moved if before is None else moved - before
    least, most, moved = layout.places[owner], ends[owner], moved[owner]
    most = np.maximum(most, least)
    starts, stops = ((values[i::2] + moved).clip(least, most) for i in (0, 1))
    if layout.tails is not None:
        rows = layout.tails.numbers()
        if not layout.tails.appended:
            stored = parcel.tokens.lengths if parcel.cuts is None else parcel.tokens.lengths + parcel.cuts
            last = stored[owner] - 1
            reached = owner[(values[::2] <= last) & (last < values[1::2])]
            rows = rows[np.isin(rows, reached)]
        starts, stops = np.concatenate([starts, ends[rows]]), np.concatenate([stops, ends[rows] + 1])
        order = np.argsort(starts, kind="stable")
        starts, stops, owner = starts[order], stops[order], np.concatenate([owner, rows])[order]
    predicted = stops - starts
    if not shift:  # the first column is nobody's target
        predicted = predicted - ((starts == layout.first[owner]) & (stops > starts))
    return Runs(starts, stops, _by_batch(predicted, owner, layout.edges))


def runs_of_packs(parcel: Parcel, layout: PackLayout) -> Runs:
    """Return the supervised runs of documents in packs.

    Raises:
        CollateError: The rows have no spans.
    """
    values, owner = _spans(parcel)
    begins, most = layout.begins[owner], parcel.tokens.lengths[owner]
    if parcel.cuts is not None:
        values = values - parcel.cuts[owner].repeat(2)
    starts, stops = (begins + values[i::2].clip(0, most) for i in (0, 1))
    predicted = stops - starts - ((starts == begins) & (stops > starts))
    return Runs(starts, stops, _by_batch(predicted, owner, parcel.edges))


def _by_batch(counts: IntArray, owner: IntArray, edges: IntArray) -> IntArray:
    """int64[C]: the sum over each batch of what belongs to its rows; `owner: int64[S]` rises."""
    before = np.concatenate([[0], counts.cumsum()])
    found: IntArray = np.diff(before[np.searchsorted(owner, edges)])
    return found


def _spans(parcel: Parcel) -> tuple[IntArray, IntArray]:
    """The spans of all rows as flat pairs, int64[2S], and the row that each pair belongs to, int64[S]."""
    spans = parcel.columns.get("spans")
    if spans is None:
        raise CollateError(
            'supervise="response" needs rows that know their response: a store prepared with a template, or dicts '
            "with 'prompt_length' or 'spans'"
        )
    return spans.joined().values.astype(np.int64), np.arange(len(spans.starts)).repeat(spans.lengths // 2)
