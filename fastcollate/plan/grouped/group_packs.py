from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcollate.plan.grouped.groups import Groups
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks
from fastcollate.plan.shares import Pieces
from fastcollate.ragged import IntArray, offsets_of

__all__ = ["GroupPacks"]


@dataclass(frozen=True, kw_only=True)
class GroupPacks(BestFitPacks):
    """`GroupPacks` plan packs of whole groups, by best fit decreasing; see `BestFitPacks` for the other fields.

    Attributes:
        groups: The records of each group; the plan numbers groups.
    """

    kind = "best-fit packs of groups"

    groups: Groups

    def fingerprint(self) -> dict[str, Any]:
        """Return the kind of plan and its arguments, as JSON; the groups are the corpus's."""
        found = super().fingerprint()
        del found["groups"]
        return found

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Return int64[M], the cells of the groups `indices: int64[M]`, each document's padding included."""
        multiple = self.multiple_of

        def cells(records: IntArray) -> IntArray:
            return -(-self.records.lengths_at(records) // multiple) * multiple

        return self.groups.lengths(indices, cells, np.add)

    def check(self) -> None:
        """Refuse a group that no pack holds.

        Raises:
            PlanError: Its records together have more cells than a pack.
        """
        self.groups.check(self.lengths_at, self.length, "tokens, padding counted")

    def work(self, pieces: Pieces) -> IntArray:
        """Return what the documents of each group cost together, int64[D]."""
        each = super().work
        return self.groups.lengths(pieces.records, lambda ids: each(self._documents(ids)), np.add)

    def members(self, pieces: Pieces, edges: IntArray) -> tuple[Pieces, IntArray]:
        """Return the documents of the groups in packs, and where each pack begins: int64[P+1]."""
        records, sizes = self.groups.members(pieces.records)
        return self._documents(records), offsets_of(sizes)[edges]

    def _documents(self, records: IntArray) -> Pieces:
        return Pieces(records, np.zeros(len(records), np.int64), self.records.lengths_at(records))

    @property
    def most_of_a_pack(self) -> int | None:
        """How many groups a pack has at most; None for any number."""
        most = super().most_of_a_pack
        return None if most is None else max(1, most // self.groups.largest)
