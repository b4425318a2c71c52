"""A plan applied to records: the one place where which rows becomes where they lie, in parcels."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from fastcollate.arguments import check_flag
from fastcollate.corpus.corpus import Corpus, Records, find_in
from fastcollate.corpus.mixture import Mixture
from fastcollate.errors import PlanError
from fastcollate.plan.grouped.groups import Groups
from fastcollate.plan.shares import Share
from fastcollate.ragged import Found, IntArray, Parcel, RaggedBatch, Scattered

__all__ = ["CELLS", "UNREAD", "cut_parcels", "find_groups", "find_rows"]

CELLS = 1 << 17  # of a parcel at most: some MB, which soon come
_LEAST = 1 << 11  # cells that a batch counts as, so that not too many tiny ones wait for each other


def find_rows(
    records: Records,
    share: Share,
    columns: Collection[str],
    *,
    per_token: Collection[str] = (),
    max_length: int | None = None,
) -> Parcel:
    """Return the batches of a share with their rows where the records lie: whole records, or documents of packs.

    Args:
        records: The records of the epoch.
        share: Which of them, and how they are laid out.
        columns: The columns to find beside the tokens.
        per_token: Those of the columns that are cut with the tokens.
        max_length: The tokens that longer records are cut to; by default they stay whole.
    """
    ids, pieces = share.record_ids, share.pieces
    real = ids >= 0
    found = find_in(records, ids, columns) if real.all() else _with_fillers(records, ids, real, columns)
    parcel = Parcel(
        found.tokens.spanned(),
        found.record_ids,
        share.edges,
        share.widths,
        found.columns,
        share.packs,
        share.pack_edges,
    )
    if pieces is not None:
        return parcel.cut(pieces.begins, pieces.lengths, per_token)
    if max_length is not None and int(parcel.tokens.lengths.max(initial=0)) > max_length:
        return parcel.cut(0, np.minimum(parcel.tokens.lengths, max_length), per_token)
    return parcel


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


def find_groups(corpus: Corpus, wanted: bool) -> Groups | None:  # a public argument of that name
    """Return which records of a corpus belong together, or None where nobody wants to know.

    Raises:
        PlanError: The corpus has no groups, or some record has none; or it is a mixture, which parts them.
    """
    if not check_flag("groups", wanted, error=PlanError):
        return None
    if isinstance(corpus, Mixture):
        raise PlanError(
            "groups=True with a mixture: it takes records one by one, and would tear groups apart; merge "
            "the stores, or iterate each alone"
        )
    if "group" not in corpus.columns:
        raise PlanError(
            "groups=True needs a corpus with a column 'group': prepare preference pairs, give StoreWriter.append "
            "a column of that name, or set groups=False"
        )
    if not len(corpus):
        return None
    numbers = getattr(corpus, "groups", None)
    if callable(numbers):
        return Groups.of(np.asarray(numbers(), np.int64))
    found = corpus.at_epoch(0, 0).gather(np.arange(len(corpus)), ("group",))
    return Groups.of(found.columns["group"].to_ragged().values.astype(np.int64))


class _Unread:
    """The records of no epoch: those of a dataset in another process, until it asks for its own."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        raise NotImplementedError

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        raise NotImplementedError

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        raise NotImplementedError


UNREAD = _Unread()
