"""A plan applied to records: the one place where which rows becomes where they lie, in parcels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.corpus import Corpus, Records, find_in
from fastcollate.dataset.announced import read_in_time
from fastcollate.plan.order import WindowedPlan
from fastcollate.plan.shares import InSteps, Share
from fastcollate.ragged import Found, IntArray, Parcel, Scattered, Steps, WholeSteps
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["CELLS", "cut_parcels", "find_rows", "found_in_time"]

CELLS = 1 << 17  # of a parcel at most: some MB, which soon come
_CELLS_COUNTED = 1 << 20  # that are laid out at once to be counted
_LEAST = 1 << 11  # cells that a batch counts as, so that not too many tiny ones wait for each other


def found_in_time(
    corpus: Corpus,
    plan: WindowedPlan[Any],
    records: Records,
    shares: Iterator[Share],
    *,
    columns: Collection[str] | None,
    counts: ReadCounts | None,
) -> tuple[Iterator[Parcel], Callable[[], bool]]:
    """Return the batches of the shares of a pass, their rows where these lie or read ahead of use.

    With them comes what tells, as soon as a share is here, whether another one follows, which is not read for it.

    Args:
        corpus: What is read.
        plan: The plan of the epoch.
        records: The records of the epoch.
        shares: What the pass takes of them.
        columns: What to find beside the tokens, as far as the corpus has it; None for all it has.
        counts: What reading from a disk or an object store is added to; None where nobody counts.
    """
    known, longest = corpus.columns, getattr(plan, "max_length", None)
    beside = _wanted(known, columns)
    per_token = [name for name in beside if known[name].per == "token"]
    read, shares = read_in_time(corpus, records, shares, beside, counts)
    foreseen = _Foreseen(shares)
    found = (
        find_rows(read, share, beside, per_token=per_token, max_length=longest, whole=records)
        for share in foreseen
    )
    return found, foreseen.has_more


class _Foreseen(Iterator[Share]):
    """The shares of a pass, each of which is planned before the one before it is given out."""

    def __init__(self, shares: Iterator[Share]) -> None:
        self._shares = shares
        self._following: Share | None = None
        self._has_begun = False

    def __next__(self) -> Share:
        share = self._following if self._has_begun else next(self._shares, None)
        if share is None:
            raise StopIteration
        self._has_begun, self._following = True, next(self._shares, None)
        return share

    def has_more(self) -> bool:
        """Return whether another share follows the last one."""
        return self._following is not None


def _wanted(known: Iterable[str], columns: Collection[str] | None) -> list[str]:
    """Those of the known columns that are asked for, and weights for whoever learns: nobody may pass them over."""
    return [name for name in known if columns is None or name in columns or (columns and name == "weights")]


def find_rows(
    records: Records,
    share: Share,
    columns: Collection[str],
    *,
    per_token: Collection[str] = (),
    max_length: int | None = None,
    whole: Records | None = None,
) -> Parcel:
    """Return the batches of a share with their rows where the records lie: whole records, or documents of packs.

    Args:
        records: The records of the epoch.
        share: Which of them, and how they are laid out.
        columns: The columns to find beside the tokens.
        per_token: Those of the columns that are cut with the tokens.
        max_length: The tokens that longer records are cut to; by default they stay whole.
        whole: The records in which what other ranks have of the steps is found; by default `records`.
    """
    ids, pieces = share.record_ids, share.pieces
    real = ids >= 0
    found = find_in(records, ids, columns) if real.all() else _with_fillers(records, ids, real, columns)
    parcel = Parcel(
        found.tokens.spanned(),
        found.record_ids,
        share.edges,
        share.widths,
        {name: column.spanned() for name, column in found.columns.items()},
        share.packs,
        share.pack_edges,
        steps=None
        if share.steps is None
        else _steps_of(whole or records, share.steps, columns, per_token, max_length),
    )
    if pieces is not None:
        return parcel.cut(pieces.begins, pieces.lengths, per_token)
    if max_length is not None and int(parcel.tokens.lengths.max(initial=0)) > max_length:
        return parcel.cut(0, np.minimum(parcel.tokens.lengths, max_length), per_token)
    return parcel


def _steps_of(
    records: Records, steps: InSteps, beside: Collection[str], per_token: Collection[str], max_length: int | None
) -> Steps:
    """The steps of a share, whose batches over all ranks are found when they are counted."""

    def find(collator: Any) -> Iterator[Parcel]:
        columns = _wanted(beside, getattr(collator, "columns", ()))
        for share in steps.whole():
            whole = find_rows(records, share, columns, per_token=per_token, max_length=max_length)
            yield from cut_parcels(whole, _CELLS_COUNTED)

    return Steps(steps.micro, steps.home, WholeSteps(find, steps.size))


def cut_parcels(parcel: Parcel, cells: int = CELLS) -> Iterator[Parcel]:
    """Yield a parcel in parts of consecutive batches that are small enough to be collated at once.

    A part has one batch, or so many `cells` at most and a batch for each 2,048 of them: 131,072 and 64 by default.
    """
    before = np.cumsum(parcel.cells())
    first, count = 0, len(parcel)
    while first < count:
        room = cells + (int(before[first - 1]) if first else 0)
        last = min(max(first + 1, int(np.searchsorted(before, room, "right"))), first + cells // _LEAST)
        yield parcel if last - first == count else parcel.part(first, last)
        first = last


def _with_fillers(records: Records, ids: IntArray, real: NDArray[np.bool_], columns: Collection[str]) -> Found:
    """The same with empty rows where the record's number is -1."""
    places = np.flatnonzero(real)
    found = find_in(records, ids[places], columns)

    def filled(rows: Scattered) -> Scattered:
        homes, starts, lengths = (np.zeros(len(ids), np.int64) for _ in range(3))
        starts[places], lengths[places] = rows.starts, rows.lengths
        if rows.homes is None:
            return rows._replace(starts=starts, lengths=lengths)
        homes[places] = rows.homes
        return rows._replace(homes=homes, starts=starts, lengths=lengths)

    numbers = np.full(len(ids), -1, np.int64)
    numbers[places] = found.record_ids
    return Found(numbers, filled(found.tokens), {name: filled(rows) for name, rows in found.columns.items()})
