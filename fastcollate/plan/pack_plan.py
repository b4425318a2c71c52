"""One epoch of packs: rows of exactly `length` tokens that hold several documents, planned window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from fastcollate.plan.best_fit import best_fit_decreasing
from fastcollate.plan.order import Landmark, PlannedBatch, WindowedPlan, longest_first
from fastcollate.plan.permutation import hash_integers
from fastcollate.ragged import IntArray, Packs

__all__ = ["PackPlan", "PackedBatch", "PackedWindow", "Pieces"]

_DOCUMENTS = 5  # what a key is for: the order of documents in a pack


class Pieces(NamedTuple):
    """Runs of tokens: `lengths[i]` tokens of record `records[i]` from its token `begins[i]` on; int64[D] each."""

    records: IntArray
    begins: IntArray
    lengths: IntArray

    def at(self, chosen: IntArray | slice) -> Pieces:
        """The chosen pieces."""
        return Pieces(*(column[chosen] for column in self))


@dataclass(frozen=True, slots=True)
class PackedBatch(PlannedBatch):
    """Packs whose documents are `pieces`; `record_ids` has one entry for each. A filler row is an empty pack."""

    pieces: Pieces
    packs: Packs

    @property
    def rows(self) -> int:
        """Packs, empty ones among them."""
        return len(self.packs.used)

    @property
    def real_rows(self) -> int:
        """Packs that hold documents."""
        return int(np.count_nonzero(self.packs.used))

    def halves(self) -> tuple[Self, Self]:
        """The packs in two batches."""
        half = (self.rows + 1) // 2
        return self.part(0, half), self.part(half, self.rows)

    def filled(self, rows: int) -> Self:
        """The same with empty packs up to `rows`."""
        return type(self)(self.record_ids, self.width, self.pieces, self.packs.filled(rows))

    def part(self, first: int, last: int) -> Self:
        """The packs `first` to `last`."""
        pieces = self.pieces.at(slice(int(self.packs.edges[first]), int(self.packs.edges[last])))
        return type(self)(pieces.records, self.width, pieces, self.packs.part(first, last))


@dataclass(frozen=True, slots=True)
class PackedWindow(Sequence[PlannedBatch]):
    """The batches of one window: batch `i` has the packs `starts[i]` to `stops[i]` of the whole."""

    whole: PackedBatch
    starts: IntArray
    stops: IntArray

    def __len__(self) -> int:
        return len(self.starts)

    def count_packs(self) -> int:
        """Packs in the window's batches that hold documents."""
        return int((self.stops - self.starts).sum())

    def __getitem__(self, index: Any) -> Any:
        """Batch `index` of the window; one without a pack gets a filler row."""
        return self.whole.part(int(self.starts[index]), int(self.stops[index])).filled(1)


@dataclass(frozen=True, kw_only=True)
class PackPlan(WindowedPlan):
    """A plan of packs; see `WindowedPlan` for the other fields.

    Attributes:
        length: tokens of a pack.
        strategy: `"best_fit"` never splits a document; `"wrap"` joins them all and cuts every `length` tokens.
        overlong: what happens to documents longer than `length` under `"best_fit"`.
    """

    length: int
    strategy: str
    overlong: str

    def _next_after(self, here: Landmark) -> Landmark:
        number = here.window
        if self.strategy == "best_fit":
            return Landmark(number + 1, here.batch + len(self.plan_window(number)))
        token = here.token + int(self._documents(number).lengths.sum())
        packs = -(-token // self.length) - -(-here.token // self.length)
        steps = -(-packs // self._packs_of_a_step)
        if self.drop_last and number == self.num_windows - 1 and packs % self._packs_of_a_step:
            steps -= 1
        return Landmark(number + 1, here.batch + steps * self.group, token)

    @property
    def _packs_of_a_step(self) -> int:
        assert self.batch_size is not None
        return self.group * self.batch_size

    def plan_window(self, number: int) -> PackedWindow:
        """The batches of window `number`, in global order."""
        pieces, edges = self._best_fit(number) if self.strategy == "best_fit" else self._wrap(number)
        packs = Packs.of(pieces.lengths, edges, self.length)
        whole = PackedBatch(pieces.records, self.length, pieces, packs)
        count, step = whole.rows, self._packs_of_a_step
        steps = -(-count // step)
        firsts = np.arange(steps) * step
        sizes = np.minimum(count - firsts, step)
        cuts = firsts[:, None] + np.arange(self.group + 1) * sizes[:, None] // self.group
        partial = steps > 0 and int(sizes[-1]) < step
        order = self.shuffled(number, steps - partial)
        if partial and not (self.drop_last and number == self.num_windows - 1):
            order = np.concatenate([order, np.arange(len(order), len(order) + self.group)])
        return PackedWindow(whole, cuts[:, :-1].ravel()[order], cuts[:, 1:].ravel()[order])

    def _documents(self, number: int) -> Pieces:
        """The documents of window `number` in the epoch's order, whole."""
        begin, end = (w * self.num_records // self.num_windows for w in (number, number + 1))
        records = self.order(begin, end)
        return Pieces(records, np.zeros(len(records), np.int64), self.lengths_at(records))

    def _best_fit(self, number: int) -> tuple[Pieces, IntArray]:
        pieces = self._fitting(self._documents(number))
        pieces = pieces.at(longest_first(pieces.lengths))
        packs, count = best_fit_decreasing(pieces.lengths, self.length)
        if self.shuffle:
            key = self._key(_DOCUMENTS, number)
            packs = np.argsort(np.argsort(hash_integers(np.arange(count), key), kind="stable"))[packs]
            words = hash_integers(pieces.records * 2**20 + pieces.begins // self.length, key) >> np.uint64(32)
            order = np.argsort(packs.astype(np.uint64) << np.uint64(32) | words, kind="stable")
        else:
            order = np.lexsort((pieces.begins, pieces.records, packs))
        return pieces.at(order), np.searchsorted(packs[order], np.arange(count + 1))

    def _fitting(self, documents: Pieces) -> Pieces:
        """Documents longer than a pack cut, left out or split."""
        over = documents.lengths > self.length
        if not over.any():
            return documents
        if self.overlong == "drop":
            return documents.at(np.flatnonzero(~over))
        if self.overlong == "truncate":
            return documents._replace(lengths=np.minimum(documents.lengths, self.length))
        assert self.overlong == "split"
        parts = -(-documents.lengths // self.length)
        whole = documents.at(np.repeat(np.arange(len(parts)), parts))
        nth = np.arange(len(whole.records)) - np.repeat(np.cumsum(parts) - parts, parts)
        begins = nth * self.length
        return Pieces(whole.records, begins, np.minimum(whole.lengths - begins, self.length))

    def _wrap(self, number: int) -> tuple[Pieces, IntArray]:
        """The packs of the joined stream that begin in this window; the last may run on into the next ones."""
        before, after = (self.begin_of(w).token for w in (number, number + 1))
        first = -(-before // self.length)
        last = -(-after // self.length)
        parts, end, nearby = [self._documents(number)], after, number + 1
        while end < last * self.length and nearby < self.num_windows:
            parts.append(self._documents(nearby))
            end += int(parts[-1].lengths.sum())
            nearby += 1
        stream = Pieces(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        return _cut_stream(stream, before, first, min(last, -(-end // self.length)), self.length)


def _cut_stream(stream: Pieces, begin: int, first: int, last: int, length: int) -> tuple[Pieces, IntArray]:
    """Packs `first` to `last` of a stream whose first token is the epoch's token `begin`.

    Documents of 3 and 4 tokens, length 5: ends [3 7] and cuts [0 5 7] make the pieces 3, 2 and 2.
    """
    starts = begin + np.cumsum(stream.lengths) - stream.lengths
    stop = min(last * length, int(begin + stream.lengths.sum()))
    cuts = np.append(np.arange(first, last) * length, stop)
    points = np.unique(np.concatenate([starts[(starts > cuts[0]) & (starts < stop)], cuts]))
    owner = np.searchsorted(starts, points[:-1], side="right") - 1
    pieces = Pieces(stream.records[owner], points[:-1] - starts[owner], np.diff(points))
    return pieces, np.searchsorted(points, cuts)
