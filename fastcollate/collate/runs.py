"""Which labels are targets under `supervise="response"`: runs of supervised tokens, as cells of a batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.row_layout import RowLayout
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Packs, RaggedBatch

__all__ = ["Runs", "runs_of_packs", "runs_of_rows"]


class Runs(NamedTuple):
    """Runs of supervised tokens in the numbered cells of a batch; letter: S, their number. Runs do not overlap.

    Attributes:
        starts: The first cell of each run, int64[S].
        stops: The cell after each run, int64[S]; a run may be empty.
        num_supervised: The cells in runs that a model predicts: all but those a row or document begins with.
    """

    starts: IntArray
    stops: IntArray
    num_supervised: int

    def inside(self, cells: int) -> NDArray[np.bool_]:
        """Return which cells lie in a run, bool[cells].

        Each run adds 1 where it starts and takes it away where it stops; the running sum is its inside:
        run (1, 3) of 4 cells: [0 1 0 -1] -> [0 1 1 0].
        """
        edges = np.zeros(cells + 1, np.int8)
        np.add.at(edges, self.starts, 1)
        np.add.at(edges, self.stops, -1)
        return np.cumsum(edges[:-1], dtype=np.int8).astype(bool)


def runs_of_rows(batch: RaggedBatch, layout: RowLayout) -> Runs:
    """Return the supervised runs of padded rows, in the cells of sequences `columns + shift` wide.

    A tail that is a target is a run of its own. An appended end token always is; a token that was kept from a
    row's end is if a span reaches it.

    Raises:
        CollateError: The rows have no spans.
    """
    values, owner = _spans(batch)
    extent = layout.columns + layout.shift
    first = np.arange(0, len(batch.record_ids) * extent, extent)
    begins = first if layout.lead is None else first + layout.lead
    ends = begins + layout.copied
    moved = begins
    for before in (batch.cuts, layout.cut):
        moved = moved if before is None else moved - before
    least, most, moved = (begins + layout.shift)[owner], ends[owner], moved[owner]  # `shift` tokens are no labels
    starts, stops = ((values[i::2] + moved).clip(least, most) for i in (0, 1))
    if layout.tails is not None:
        rows = layout.tails.numbers()
        if not layout.tails.appended:
            stored = batch.tokens.lengths if batch.cuts is None else batch.tokens.lengths + batch.cuts
            last = stored[owner] - 1
            reached = owner[(values[::2] <= last) & (last < values[1::2])]
            rows = rows[np.isin(rows, reached)]
        starts, stops = np.concatenate([starts, ends[rows]]), np.concatenate([stops, ends[rows] + 1])
    unpredicted = (starts % extent == 0) & (stops > starts)
    return Runs(starts, stops, int((stops - starts).sum()) - int(np.count_nonzero(unpredicted)))


def runs_of_packs(batch: RaggedBatch, packs: Packs) -> Runs:
    """Return the supervised runs of documents in packs.

    Raises:
        CollateError: The rows have no spans.
    """
    values, owner = _spans(batch)
    begins, most = packs.begins[owner], batch.tokens.lengths[owner]
    if batch.cuts is not None:
        values = values - batch.cuts[owner].repeat(2)
    starts, stops = (begins + values[i::2].clip(0, most) for i in (0, 1))
    unpredicted = (starts == begins) & (stops > starts)
    return Runs(starts, stops, int((stops - starts).sum()) - int(np.count_nonzero(unpredicted)))


def _spans(batch: RaggedBatch) -> tuple[IntArray, IntArray]:
    """The spans of all rows as flat pairs, int64[2S], and the row that each pair belongs to, int64[S]."""
    spans = batch.columns.get("spans")
    if spans is None:
        raise CollateError(
            'supervise="response" needs rows that know their response: a store prepared with a template, or dicts '
            "with 'prompt_length' or 'spans'"
        )
    return spans.joined().astype(np.int64), np.arange(len(spans.starts)).repeat(spans.lengths // 2)
