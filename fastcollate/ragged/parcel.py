"""The parcel: what is collated and handed over at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from fastcollate.ragged.packs import Packs
from fastcollate.ragged.ragged import IntArray, Rows
from fastcollate.ragged.ragged_batch import RaggedBatch
from fastcollate.ragged.scattered import Scattered
from fastcollate.ragged.steps import Steps

__all__ = ["Parcel"]


@dataclass(slots=True, eq=False)  # not frozen: it is made for every call of a collator, and freezing costs
class Parcel:
    """A `Parcel` is some consecutive batches of one worker, whose rows still lie where the corpus has them.

    Letters: R, the rows of all batches (documents where they are packs); C, the number of batches.

    Attributes:
        tokens: The tokens of the rows.
        record_ids: The record of each row, int64[R]; -1 marks a filler row, which has no tokens.
        edges: The rows of each batch, int64[C+1]: batch `c` has those from `edges[c]` to `edges[c + 1]`.
        widths: The columns that the plan fixed for each batch, int64[C]; None lets the longest row decide.
        columns: What is known about the tokens, by name and row for row.
        packs: The packs of all batches, numbered through; None where a row is a row.
        pack_edges: The packs of each batch, int64[C+1], as `edges` are its documents; None where there are none.
        cuts: The tokens of its record that lie before each row, int64[R], where rows are pieces; else None.
        steps: Which steps the batches belong to; None where each is a step of its own, or nobody knows.
    """

    tokens: Scattered
    record_ids: IntArray
    edges: IntArray
    widths: IntArray | None = None
    columns: Mapping[str, Scattered] = field(default_factory=dict)
    packs: Packs | None = None
    pack_edges: IntArray | None = None
    cuts: IntArray | None = None
    steps: Steps | None = None

    @classmethod
    def of(cls, batch: RaggedBatch) -> Self:
        """Return a parcel of one batch."""
        packs = batch.packs
        return cls(
            Scattered.of(batch.tokens),
            batch.record_ids,
            np.array([0, len(batch.record_ids)]),
            None if batch.width is None else np.array([batch.width]),
            {name: Scattered.of(rows) for name, rows in batch.columns.items()},
            packs,
            None if packs is None else np.array([0, len(packs.used)]),
            batch.cuts,
            batch.steps,
        )

    def __len__(self) -> int:
        """Return how many batches there are."""
        return len(self.edges) - 1

    def singles(self) -> Iterator[Self]:
        """Yield each batch as a parcel of its own."""
        return (self.part(number, number + 1) for number in range(len(self)))

    def cells(self) -> IntArray:
        """Return how many cells each batch takes, before a collator adds anything: int64[C]."""
        if self.packs is not None and self.pack_edges is not None:
            return np.diff(self.pack_edges) * self.packs.width
        widths = self.widths
        if widths is None:
            widths = np.maximum.reduceat(self.tokens.lengths, self.edges[:-1])
        return np.diff(self.edges) * widths

    def part(self, first: int, last: int) -> Self:
        """Return the batches from `first` to `last`, without a copy."""
        begin, end = int(self.edges[first]), int(self.edges[last])
        rows = slice(begin, end)
        packs, pack_edges = self.packs, self.pack_edges
        if packs is not None and pack_edges is not None:
            packs = packs.part(int(pack_edges[first]), int(pack_edges[last]))
            pack_edges = pack_edges[first : last + 1] - pack_edges[first]
        return type(self)(
            self.tokens.at(rows),
            self.record_ids[rows],
            self.edges[first : last + 1] - begin,
            None if self.widths is None else self.widths[first:last],
            {name: column.at(rows) for name, column in self.columns.items()},
            packs,
            pack_edges,
            None if self.cuts is None else self.cuts[rows],
            None if self.steps is None else self.steps.part(first, last),
        )

    def cut(self, begins: IntArray | int, lengths: IntArray, per_token: Collection[str]) -> Self:
        """Return the same batches with `lengths[i]` tokens of row `i` from its token `begins[i]` on.

        Args:
            begins: The first token of each piece, int64[R], or 0 where rows are cut on the right only.
            lengths: The number of tokens of each piece, int64[R].
            per_token: The columns that have a value for each token, and are cut with it; others stay whole.
        """
        columns = {
            name: column.cut(begins, lengths) if name in per_token else column
            for name, column in self.columns.items()
        }
        cuts = self.cuts if isinstance(begins, int) else begins if self.cuts is None else self.cuts + begins
        return replace(self, tokens=self.tokens.cut(begins, lengths), columns=columns, cuts=cuts)

    def counted(self, collator: Any) -> Self:
        """Return the same batches knowing what their steps have, as `collator` counts it; as they are for None."""
        if self.steps is None or collator is None:
            return self
        return replace(self, steps=self.steps.counted(collator))

    def uncounted(self) -> Self:
        """Return the same batches for another process, where nobody can count what their steps have."""
        return self if self.steps is None else replace(self, steps=self.steps.uncounted())

    def with_rows(self, batch: RaggedBatch) -> Self:
        """Return the same batches with the tokens, columns and cuts that the rows have in `batch`."""
        columns = {name: Scattered.of(rows) for name, rows in batch.columns.items()}
        return replace(self, tokens=Scattered.of(batch.tokens), columns=columns, cuts=batch.cuts)

    def side_by_side(self) -> Self:
        """Return the same batches with all rows copied into arrays of their own."""
        columns = {name: Scattered.of(column.joined()) for name, column in self.columns.items()}
        return replace(self, tokens=Scattered.of(self.tokens.joined()), columns=columns)

    def batches(self) -> Iterator[RaggedBatch]:
        """Yield each batch; of a parcel `side_by_side` they are views."""
        edges = self.edges.tolist()
        widths = [None] * len(self) if self.widths is None else self.widths.tolist()
        pack_edges = None if self.pack_edges is None else self.pack_edges.tolist()
        rows = self.tokens.rows()
        columns = {name: column.rows() for name, column in self.columns.items()}
        for number, width in enumerate(widths):
            begin, end = edges[number], edges[number + 1]
            yield RaggedBatch(
                _some(rows, begin, end),
                self.record_ids[begin:end],
                {name: _some(column, begin, end) for name, column in columns.items()},
                width,
                None
                if self.packs is None or pack_edges is None
                else self.packs.part(pack_edges[number], pack_edges[number + 1]),
                None if self.cuts is None else self.cuts[begin:end],
                None if self.steps is None else self.steps.part(number, number + 1),
            )


def _some(rows: Rows, begin: int, end: int) -> Rows:
    return Rows(rows.values, rows.starts[begin:end], rows.lengths[begin:end])
