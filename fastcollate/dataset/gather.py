"""A plan applied to records: the one place where which rows becomes the rows themselves."""

from __future__ import annotations

from collections.abc import Collection

from fastcollate.corpus.corpus import Records
from fastcollate.plan.order import PlannedBatch
from fastcollate.plan.pack_plan import PackedBatch
from fastcollate.ragged import RaggedBatch

__all__ = ["gather_planned"]


def gather_planned(
    records: Records,
    planned: PlannedBatch,
    columns: Collection[str],
    *,
    per_token: Collection[str] = (),
    max_length: int | None = None,
) -> RaggedBatch:
    """Return the rows of a planned batch: whole records, or the documents of packs.

    Args:
        records: The records of the epoch.
        planned: Which of them, and how they are laid out.
        columns: The columns to gather beside the tokens.
        per_token: Those of the columns that are cut with the tokens.
        max_length: The tokens that longer records are cut to; by default they stay whole.
    """
    ids = planned.record_ids
    if isinstance(planned, PackedBatch):
        batch = records.gather(ids, columns).cut(planned.pieces.begins, planned.pieces.lengths, per_token)
        return batch.laid_out(width=planned.width, packs=planned.packs)
    if len(ids) and ids[-1] < 0:  # filler rows, which come last
        batch = records.gather(ids[: planned.real_rows], columns).filled(len(ids))
    else:
        batch = records.gather(ids, columns)
    if max_length is not None:
        batch = batch.clipped(max_length, per_token)
    return batch if planned.width is None else batch.laid_out(width=planned.width)
