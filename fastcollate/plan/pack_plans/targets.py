"""How many targets documents have: what a step's packs are neighbours in where `balance="targets"` asks for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fastcollate.plan.order import Lengths
from fastcollate.plan.shares import Pieces
from fastcollate.ragged import IntArray

__all__ = ["TARGETS", "Supervised", "targets_of"]

TARGETS = "targets"


@runtime_checkable
class Supervised(Lengths, Protocol):
    """`Supervised` are records that know how many of their tokens are targets."""

    def supervised_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], the targets of the records `indices: int64[M]`."""


def targets_of(pieces: Pieces, records: Lengths) -> IntArray:
    """Return int64[D]: how many targets documents have; all their tokens, where the records do not know it.

    A piece of a record counts as the same part of its targets as of its tokens: which of them it has, its spans
    alone would tell.
    """
    if not isinstance(records, Supervised):
        return pieces.lengths
    whole = records.lengths_at(pieces.records)
    return records.supervised_at(pieces.records) * pieces.lengths // whole
