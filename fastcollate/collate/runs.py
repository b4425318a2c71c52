"""Which labels are targets under `supervise="response"`, as runs of cells; and how many batches learn in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastcollate.collate.packed_rows.pack_layout import PackLayout
from fastcollate.collate.row_layout import RowLayout
from fastcollate.collate.staged import Sources, Wanted
from fastcollate.collate.views import array_views
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Parcel, rows_between

__all__ = ["WEIGHTS", "Learnt", "Runs", "runs_of_packs", "runs_of_rows", "sums_of", "travelling", "wanted_cells"]

WEIGHTS = "loss_weights"


class Runs(NamedTuple):
    """Runs of supervised tokens in the numbered cells of batches; letter: S, their number. They rise, apart.

    Attributes:
        starts: The first cell of each run, int64[S].
        stops: The cell after each run, int64[S]; a run may be empty.
        counts: The cells of each batch in runs that a model predicts, int64[C]: all but those a row or document
            begins with.
        weights: What each cell of a run counts in the loss, float32[S]; None where all count the same.
        sums: What the counted cells of each batch weigh together, float64[C]; None where all count the same.
    """

    starts: IntArray
    stops: IntArray
    counts: IntArray
    weights: NDArray[np.float32] | None = None
    sums: NDArray[np.float64] | None = None

    def weigh(self, arrays: Mapping[str, NDArray[Any]], ignore_index: int) -> None:
        """Write into `loss_weights: float32[cells]` what each label counts, 0 where there is no target."""
        if self.weights is None:
            return
        out, counts = arrays[WEIGHTS], self.stops - self.starts
        out.fill(0)
        out[rows_between(self.starts, counts)] = self.weights.repeat(counts)
        out[arrays["labels"] == ignore_index] = 0


class Learnt(NamedTuple):
    """The labels of each batch that count in the loss, and what they weigh; None where each weighs 1."""

    num_supervised: list[int]
    loss_weights: list[float] | None

    @classmethod
    def counted(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        rows: Sequence[int],
        columns: Sequence[int],
        *,
        ignore_index: int | None,
        first: int,
    ) -> Learnt:
        """Return what the labels themselves tell, where runs do not: a token may have the value that is skipped.

        Args:
            arrays: The cells of all batches side by side, by name.
            rows: The rows of each batch.
            columns: The width of each batch.
            ignore_index: The value that the loss skips.
            first: The first column that counts: 1 where the model shifts labels and drops the first.

        >>> Learnt.counted({"labels": np.array([7, -100, 7, 8])}, [1, 1], [2, 2], ignore_index=-100, first=1)
        Learnt(num_supervised=[0, 1], loss_weights=None)
        """
        labels = [view.numpy()[:, first:] for view in array_views(arrays["labels"], rows, columns)]
        counts = [int(np.count_nonzero(view != ignore_index)) for view in labels]
        if WEIGHTS not in arrays:
            return cls(counts, None)
        weights = [view.numpy()[:, first:] for view in array_views(arrays[WEIGHTS], rows, columns)]
        return cls(counts, [float(view.sum(dtype=np.float64)) for view in weights])


def wanted_cells(names: Sequence[str], cells: int, runs: Runs | None) -> Wanted:
    """Return what arrays are wanted: int64[cells] of each name, and float32[cells] of weights if there are any."""
    wanted: dict[str, tuple[tuple[int, ...], DTypeLike]] = dict.fromkeys(names, ((cells,), np.int64))
    if runs is not None and runs.weights is not None:
        wanted[WEIGHTS] = (cells,), np.float32
    return wanted


def travelling(runs: Runs | None) -> Sources:
    """Return what of the runs is staged."""
    found: Sources = {} if runs is None else {"runs": (runs.starts, runs.stops)}
    if runs is not None and runs.weights is not None:
        found["weights"] = runs.weights
    return found


def sums_of(runs: Runs | None) -> list[float] | None:
    """Return what the counted cells of each batch weigh together; None where all count the same."""
    found: list[float] | None = None if runs is None or runs.sums is None else runs.sums.tolist()
    return found


def runs_of_rows(parcel: Parcel, layout: RowLayout) -> Runs:
    """Return the supervised runs of padded rows, in the cells of their labels.

    A tail that is a target is a run of its own. An appended end token always is; a token that was kept from a
    row's end is if a span reaches it, and weighs as much. An appended end token weighs what the row's last span
    does.

    Raises:
        CollateError: The rows have no spans.
    """
    values, owner, weights = _spans(parcel)
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
        stored = held = parcel.tokens.lengths[owner]
        if parcel.cuts is not None:
            stored = held + parcel.cuts[owner]
        weighs = np.maximum(values[::2], stored - held) < np.minimum(values[1::2], stored)  # lies in the row
        if not layout.tails.appended:
            weighs = (values[::2] < stored) & (stored <= values[1::2])
            rows = rows[np.isin(rows, owner[weighs])]
        starts, stops = np.concatenate([starts, ends[rows]]), np.concatenate([stops, ends[rows] + 1])
        order = np.argsort(starts, kind="stable")
        if weights is not None:
            weights = np.concatenate([weights, _last_of(weights[weighs], owner[weighs], rows)])[order]
        starts, stops, owner = starts[order], stops[order], np.concatenate([owner, rows])[order]
    predicted = stops - starts
    if not shift:  # the first column is nobody's target
        predicted = predicted - ((starts == layout.first[owner]) & (stops > starts))
    sums = _sums(predicted, weights, owner, layout.edges)
    return Runs(starts, stops, _by_batch(predicted, owner, layout.edges), weights, sums)


def runs_of_packs(parcel: Parcel, layout: PackLayout) -> Runs:
    """Return the supervised runs of documents in packs.

    Raises:
        CollateError: The rows have no spans.
    """
    values, owner, weights = _spans(parcel)
    begins, most = layout.begins[owner], parcel.tokens.lengths[owner]
    if parcel.cuts is not None:
        values = values - parcel.cuts[owner].repeat(2)
    starts, stops = (begins + values[i::2].clip(0, most) for i in (0, 1))
    predicted = stops - starts - ((starts == begins) & (stops > starts))
    sums = _sums(predicted, weights, owner, parcel.edges)
    return Runs(starts, stops, _by_batch(predicted, owner, parcel.edges), weights, sums)


def _by_batch(counts: IntArray, owner: IntArray, edges: IntArray) -> IntArray:
    """int64[C]: the sum over each batch of what belongs to its rows; `owner: int64[S]` rises."""
    before = np.concatenate([[0], counts.cumsum()])
    found: IntArray = np.diff(before[np.searchsorted(owner, edges)])
    return found


def _sums(
    predicted: IntArray, weights: NDArray[np.float32] | None, owner: IntArray, edges: IntArray
) -> NDArray[np.float64] | None:
    """float64[C]: what the predicted cells weigh, each batch by itself: none has the rounding of another."""
    if weights is None:
        return None
    batches = np.searchsorted(edges, owner, side="right") - 1
    counted = np.where(predicted > 0, predicted * weights.astype(np.float64), 0)
    return np.bincount(batches, counted, minlength=len(edges) - 1).astype(np.float64, copy=False)


def _last_of(weights: NDArray[np.float32], owner: IntArray, rows: IntArray) -> NDArray[np.float32]:
    """float32[M]: what the last span of each of some rows weighs; 1 where a row has none."""
    last = np.searchsorted(owner, rows, side="right") - 1
    found = np.ones(len(rows), np.float32)
    some = np.flatnonzero((last >= 0) & (owner[last] == rows)) if len(owner) else last[:0]
    found[some] = weights[last[some]]
    return found


def _spans(parcel: Parcel) -> tuple[IntArray, IntArray, NDArray[np.float32] | None]:
    """The spans of all rows as flat pairs, int64[2S]; the row of each, int64[S]; what each weighs, float32[S]."""
    spans = parcel.columns.get("spans")
    if spans is None:
        raise CollateError(
            'supervise="response" needs rows that know their response: a store prepared with a template, or dicts '
            "with 'prompt_length' or 'spans'"
        )
    weights, counts = parcel.columns.get("weights"), spans.lengths // 2
    if weights is not None and (weights.lengths != counts).any():
        i = int((weights.lengths != counts).argmax())
        raise CollateError(f"row {i} has {counts[i]} spans and {weights.lengths[i]} weights: one a span")
    return (
        spans.joined().values.astype(np.int64),
        np.arange(len(counts)).repeat(counts),
        None if weights is None else weights.joined().values.astype(np.float32, copy=False),
    )
