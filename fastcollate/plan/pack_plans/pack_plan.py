"""Plans of packs: rows of exactly `length` tokens that hold several documents, planned window by window."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastcollate.plan.capacities.bundles import bundled_best_fit
from fastcollate.plan.lanes import join_packs, split_lanes
from fastcollate.plan.order import TOGETHER, Landmark, WindowedPlan
from fastcollate.plan.pack_plans.balance import balance_packs, work_of
from fastcollate.plan.pack_plans.best_fit import best_fit_decreasing
from fastcollate.plan.pack_plans.pack_window import PackedBatch, PackedWindow
from fastcollate.plan.pack_plans.targets import targets_of
from fastcollate.plan.shares import Pieces, cut_stream, dealt_evenly, fitting
from fastcollate.plan.sorting import longest_first, shuffle_packs
from fastcollate.ragged import IntArray, Packs

__all__ = ["BestFitPacks", "PackPlan", "WrappedPacks"]


@dataclass(frozen=True, kw_only=True)
class PackPlan(WindowedPlan[PackedBatch]):
    """A `PackPlan` is what both plans of packs share; see `WindowedPlan` for the other fields.

    Attributes:
        length: The tokens of a pack.
        batch_size: The packs of a batch; the last step of a window may have fewer.
        balance: The length at which a document's attention costs as much as all else that is done with it: packs
            of a step are neighbours in cost. With `"targets"` they are neighbours in their number of targets, with
            None they are dealt as they come.
    """

    length: int
    batch_size: int
    balance: int | str | None = None

    @abstractmethod
    def fill_packs(self, number: int) -> tuple[Pieces, IntArray]:
        """Return the documents of part `number`, pack by pack, and where each pack begins: int64[P+1]."""

    @property
    def num_parts(self) -> int:
        """The windows of all lanes: window `n` has a part for each lane, from `n * lanes` on."""
        return self.num_windows * self.lanes

    def part_bounds(self, number: int) -> tuple[int, int]:
        """Return the positions in the epoch's order from which, and to which, part `number` goes."""
        parts, records = self.num_parts, self.num_records
        return number * records // parts, (number + 1) * records // parts

    @property
    def packs_of_a_step(self) -> int:
        """The packs of a full step."""
        return self.group * self.batch_size

    def tokens_per_batch(self, mean_length: float) -> float:  # noqa: ARG002  # full packs, of whatever records
        """Return how many tokens a batch of full packs has, whatever its records' lengths are."""
        return self.batch_size * self.length

    def shapes(self) -> list[tuple[int, int]]:
        """Return all (packs, length) of this epoch's batches, sorted; the epoch is planned once to find them."""
        windows = map(self.plan_window, range(self.num_windows))
        rows = {max(rows, 1) for window in windows for rows in np.unique(window.real_rows).tolist()}
        return sorted((count, self.length) for count in rows)

    def plan_window(self, number: int) -> PackedWindow:
        """Return the batches of window `number`, in global order."""
        if self.lanes > 1:
            return self._window_of_lanes(number)
        whole, starts, stops, full = self._in_steps(
            *self.members(*self._balanced(number, *self.fill_packs(number)))
        )
        order = self.shuffled(number, np.array([full]))
        if not (self.drop_last and number == self.num_windows - 1):
            order = np.append(order, np.arange(len(order), len(starts)))
        return PackedWindow(whole, starts[order], stops[order])

    def _in_steps(self, pieces: Pieces, edges: IntArray) -> tuple[PackedBatch, IntArray, IntArray, int]:
        """All packs; the batches of their steps, from which to which pack; and how many steps are full."""
        packs = Packs.of(pieces.lengths, edges, self.length)
        count, step = len(packs.used), self.packs_of_a_step
        firsts = np.arange(-(-count // step)) * step
        sizes = np.minimum(count - firsts, step)
        cuts = dealt_evenly(firsts, sizes, self.group)
        whole = PackedBatch(pieces.records, self.length, pieces, packs)
        return whole, cuts[:, :-1].ravel(), cuts[:, 1:].ravel(), count // step

    def _window_of_lanes(self, number: int) -> PackedWindow:
        """The batches of a window of several lanes: units of all lanes, then steps of the packs left in them."""
        each = self.unit // self.lanes
        lanes = [self.fill_packs(number * self.lanes + lane) for lane in range(self.lanes)]
        if self.balance is not None and self.group > 1 and all(len(edges) > 1 for _, edges in lanes):
            lanes = [self._dealt(*lane, group=each) for lane in lanes]
        units = min(len(edges) - 1 for _, edges in lanes) // (each * self.batch_size)
        taken, left = split_lanes(lanes, units * each * self.batch_size)
        order = self.shuffled(number, np.array([units]))
        unit, (lane, nth) = order // self.unit, np.divmod(order % self.unit, each)
        starts = ((lane * units + unit) * each + nth) * self.batch_size
        left = self._balanced(number, *left)
        _, rest_starts, rest_stops, full = self._in_steps(*left)
        if self.drop_last and number == self.num_windows - 1:
            rest_starts, rest_stops = rest_starts[: full * self.group], rest_stops[: full * self.group]
        pieces, edges = self.members(*join_packs([taken, left]))
        before = len(taken[1]) - 1
        packs = Packs.of(pieces.lengths, edges, self.length)
        whole = PackedBatch(pieces.records, self.length, pieces, packs)
        stops = np.append(starts + self.batch_size, before + rest_stops)
        return PackedWindow(whole, np.append(starts, before + rest_starts), stops)

    def _balanced(self, number: int, pieces: Pieces, edges: IntArray) -> tuple[Pieces, IntArray]:
        """The packs of a window in an order in which those of a step cost as much; a step that is dropped goes."""
        if self.balance is None or self.group == 1:
            return pieces, edges
        if self.drop_last and number == self.num_windows - 1:
            edges = edges[: (len(edges) - 1) // self.packs_of_a_step * self.packs_of_a_step + 1]
            pieces = pieces.at(slice(int(edges[-1])))
        if len(edges) == 1:
            return pieces, edges
        return self._dealt(pieces, edges, group=self.group)

    def _dealt(self, pieces: Pieces, edges: IntArray, *, group: int) -> tuple[Pieces, IntArray]:
        return balance_packs(
            pieces,
            edges,
            self.work(pieces),
            group=group,
            batch_size=self.batch_size,
            length=self.length,
            multiple_of=self.multiple_of,
            most=self.most_of_a_pack,
        )

    def work(self, pieces: Pieces) -> IntArray:
        """Return what each of `pieces` costs, int64[D]; see `work_of` and `targets_of`."""
        if isinstance(self.balance, int):
            return work_of(pieces.lengths, self.balance)
        return targets_of(pieces, self.records)

    def members(self, pieces: Pieces, edges: IntArray) -> tuple[Pieces, IntArray]:
        """Return the documents of packs, and where each pack begins, where pieces stand for several documents."""
        return pieces, edges

    @property
    def most_of_a_pack(self) -> int | None:
        """How many pieces a pack has at most; None for any number."""
        return None

    def documents(self, number: int) -> Pieces:
        """Return the documents of part `number` in the epoch's order, whole."""
        begin, end = self.part_bounds(number)
        for first, found in tuple(self._read):
            if first <= begin and end <= first + len(found.records):
                return found.at(slice(begin - first, end - first))
        at_once = max(1, TOGETHER * self.num_parts // self.num_records)
        last = min(number + at_once, self.num_parts) - 1
        records = self.order(begin, self.part_bounds(last)[1])
        found = Pieces(records, np.zeros(len(records), np.int64), self.lengths_at(records))
        self._read[:] = [*self._read[-1:], (begin, found)]
        return found.at(slice(end - begin))

    @cached_property
    def _read(self) -> list[tuple[int, Pieces]]:
        """The documents that were read last, twice at most, of one window or many small ones: from which place on.

        They are asked for again when a window is counted and then cut, or when the last pack of a window ends in
        the next. Two threads may read at the same time: the list is replaced at once.
        """
        return []


@dataclass(frozen=True, kw_only=True)
class BestFitPacks(PackPlan):
    """`BestFitPacks` plan packs of whole documents, by best fit decreasing; see `PackPlan` for the other fields.

    Attributes:
        overlong: What happens to documents longer than `length`: `"truncate"`, `"drop"` or `"split"`, or `"error"`
            where there are none.
    """

    kind = "best-fit packs"

    overlong: str

    def fill_packs(self, number: int) -> tuple[Pieces, IntArray]:
        """Return the documents of part `number`, pack by pack, and where each pack begins: int64[P+1]."""
        pieces = fitting(self.documents(number), self.length, self.overlong)
        pieces = pieces.at(longest_first(pieces.lengths))
        packs, count = self._best_fit(-(-pieces.lengths // self.multiple_of) * self.multiple_of)
        if self.shuffle:
            documents = pieces.records * 2**20 + pieces.begins // self.length
            packs, order = shuffle_packs(packs, count, documents, seed=self.seed, epoch=self.epoch, window=number)
        else:
            order = np.lexsort((pieces.begins, pieces.records, packs))
        return pieces.at(order), np.searchsorted(packs[order], np.arange(count + 1))

    def _best_fit(self, lengths: IntArray) -> tuple[IntArray, int]:
        """The pack of each document, longest first, and how many packs there are."""
        if self.max_documents is None:
            return best_fit_decreasing(lengths, self.length)
        return bundled_best_fit(lengths, self.length, self.most_of_a_pack or 1)

    @property
    def most_of_a_pack(self) -> int | None:
        """How many documents a pack has at most; None for any number."""
        return None if self.max_documents is None else self.max_documents // self.batch_size


@dataclass(frozen=True, kw_only=True)
class WrappedPacks(PackPlan):
    """`WrappedPacks` join all documents and cut them every `length` tokens; see `PackPlan` for the fields."""

    kind = "wrapped packs"

    def next_after(self, here: Landmark) -> Landmark:
        """Return where the window after `here` begins; only the lengths of `here` are added up."""
        number = here.window
        token = self._token_of((number + 1) * self.lanes, here)
        if self.lanes > 1:
            return Landmark(number + 1, here.batch + len(self.plan_window(number)), token)
        packs = -(-token // self.length) - -(-here.token // self.length)
        steps = -(-packs // self.packs_of_a_step)
        if self.drop_last and number == self.num_windows - 1 and packs % self.packs_of_a_step:
            steps -= 1
        return Landmark(number + 1, here.batch + steps * self.group, token)

    def after(self, here: Landmark, counts: IntArray) -> Landmark:
        """Return where the window `here` ends, which has `counts: int64[1]` batches."""
        token = self._token_of((here.window + 1) * self.lanes, here)
        return self._landmarks.add(Landmark(here.window + 1, here.batch + int(counts[0]), token))

    def fill_packs(self, number: int) -> tuple[Pieces, IntArray]:
        """Return the packs of the joined stream that begin in part `number`; the last may end in a later one."""
        here = self.landmark_of(number // self.lanes)
        before, after = (self._token_of(part, here) for part in (number, number + 1))
        first = -(-before // self.length)
        last = -(-after // self.length)
        parts, end, nearby = [self.documents(number)], after, number + 1
        while end < last * self.length and nearby < self.num_parts:
            parts.append(self.documents(nearby))
            end += int(parts[-1].lengths.sum())
            nearby += 1
        stream = Pieces(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        return cut_stream(stream, before, first, min(last, -(-end // self.length)), self.length)

    def _token_of(self, part: int, here: Landmark) -> int:
        """The first token of a part in the window that begins `here`, or of the next window."""
        return here.token + sum(map(self._tokens_in, range(here.window * self.lanes, part)))

    def _tokens_in(self, part: int) -> int:
        """The tokens of a part, which are added up once."""
        if part not in self._counted:
            self._counted[part] = int(self.documents(part).lengths.sum())
        return self._counted[part]

    @cached_property
    def _counted(self) -> dict[int, int]:
        return {}
