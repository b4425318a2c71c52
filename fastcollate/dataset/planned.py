"""A dataset over a plan: the epoch, ranks and workers, and a state that is a position in the plan."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, Generic, Self, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from fastcollate.arguments import check_count
from fastcollate.corpus.corpus import Corpus, Records
from fastcollate.corpus.unread import UNREAD
from fastcollate.dataset.announced import share_sizes, tell_how_it_is_read
from fastcollate.dataset.checked import checked
from fastcollate.dataset.parcels import CELLS, cut_parcels, found_in_time
from fastcollate.dataset.position import Pass, SharedPosition
from fastcollate.dataset.processes.agreement import check_agreement
from fastcollate.dataset.processes.readers import check_reader
from fastcollate.dataset.processes.world import World
from fastcollate.dataset.states import WORKERS_KNOW, check_not_begun, no_batches, position_in, state_at
from fastcollate.errors import PlanError, StateError
from fastcollate.plan.capacities.within import within
from fastcollate.plan.order import Landmark, WindowedPlan
from fastcollate.plan.ranks import rank_shares
from fastcollate.plan.state import Position
from fastcollate.ragged import Parcel, RaggedBatch
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["PlannedDataset"]

AnyPlan = TypeVar("AnyPlan", bound=WindowedPlan[Any])


class PlannedDataset(IterableDataset[RaggedBatch], Generic[AnyPlan]):
    """What datasets over a plan share: a position that moves with what their latest pass delivers."""

    def __init__(self, corpus: Corpus, plan: AnyPlan, records: Records, world: World, accumulate: int = 1) -> None:
        tell_how_it_is_read(corpus, plan)
        self.corpus = corpus
        self.seed = plan.seed
        self._plan, self._records = plan, records  # of the epoch that was asked for last, if any was
        self._world = world
        self.accumulate = accumulate
        self._place = SharedPosition(Position(0, 0, world.size * accumulate))
        self._fingerprint = {"corpus": corpus.fingerprint, **plan.fingerprint()}

    def __repr__(self) -> str:
        given = {name: value for name, value in self._plan.fingerprint().items() if value is not None}
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        rank = f"rank {self._world.rank} of {self._world.size}"
        return f"{type(self).__name__}({self.corpus!r}, {shown}, seed={self.seed}, {rank})"

    @property
    def rank(self) -> int:
        """Which of the processes that train together this is."""
        return self._ask_world().rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self._ask_world().size

    @property
    def shuffle_block(self) -> int:
        """How many consecutive records stay together in the shuffle."""
        return self._plan.shuffle_block

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, width) of this epoch's batches on any rank, before the collator adds anything.

        With `buckets` they are known without planning, one for each width; else the epoch is planned once.
        """
        return self._plan_at(self._next()).shapes()

    @property
    def tokens_per_batch(self) -> float:
        """About how many tokens a batch has; with `max_tokens`, at most."""
        lengths, counts = self.corpus.length_histogram()
        return self._plan.tokens_per_batch(float(lengths @ counts) / max(1, int(counts.sum())))

    @property
    def epoch(self) -> int:
        """The epoch that the next pass delivers, or goes on with."""
        return self._next().epoch

    def __len__(self) -> int:
        """Return the batches of an epoch on this rank; with `max_tokens` or packs the first call plans it."""
        batches, size = self._plan_at(self._next()).num_batches, self._step_size
        return (batches // size if self._plan.drop_last else -(-batches // size)) * self.accumulate

    def __iter__(self) -> Iterator[RaggedBatch]:
        """Yield the batches of this rank, and of this worker if it is one, from the position on.

        A state that is loaded meanwhile moves the iterator that is in use.

        Raises:
            PlanError: The epoch has no batches.
            StoreCorruptError: A file of the store is not what was written; its last batch is not given then.
            StateError: A state was loaded in the main process while `DataLoader` workers iterate.
        """
        check_reader(self, self.world_size)  # at once, on every rank: who never asks for a batch would wait
        return self._batches()

    def _batches(self) -> Iterator[RaggedBatch]:
        while True:
            run, info = self.begin(), get_worker_info()
            worker, num_workers = (0, 1) if info is None else (info.id, info.num_workers)
            parcels = self.parcels(run.start, worker=worker, num_workers=num_workers)
            if info is not None and self.accumulate == 1:
                parcels = map(Parcel.uncounted, parcels)
            for batch in chain.from_iterable(parcel.side_by_side().batches() for parcel in parcels):
                run.deliver()
                yield batch
                if run.overtaken:
                    break
            else:
                self.finish(run)
                return

    def begin(self) -> Pass:
        """Begin a pass where the last one ended; an epoch that was delivered whole is followed by the next one."""
        world = self._ask_world()
        world.warn_of_meshes()
        return self._place.begin(self._settled, world.size)

    def parcels(
        self,
        start: Position,
        *,
        columns: Collection[str] | None = None,
        worker: int = 0,
        num_workers: int = 1,
        cells: int = CELLS,
        counts: ReadCounts | None = None,
        counter: Any = None,
    ) -> Iterator[Parcel]:
        """Return the batches of a pass of this rank, or every `num_workers`-th of them; the position stays.

        Args:
            start: Where the pass begins.
            columns: What to find beside the tokens, as far as the corpus has it; by default all it has.
            worker: Which of those that share the pass, from 0.
            num_workers: How many share the pass; one by default.
            cells: The cells of a parcel at most, unless it is one batch; 131,072 by default.
            counts: What reading from a disk or an object store is added to; by default nobody counts.
            counter: The collator that counts at once what steps have; by default whoever collates a batch does.
        """
        plan, records = self._plan_at(start), self._records
        shares = rank_shares(
            plan,
            start=start.batch,
            rank=self._world.rank,
            world_size=self._world.size,
            worker=worker,
            num_workers=num_workers,
            accumulate=self.accumulate,
            begin=start.begin,
            **share_sizes(self.corpus, records, plan),
        )
        found, has_more = found_in_time(self.corpus, plan, records, shares, columns=columns, counts=counts)
        parcels = chain.from_iterable(cut_parcels(parcel.counted(counter), cells) for parcel in found)
        return checked(parcels, records, start, has_more=has_more, worker=worker, num_workers=num_workers)

    def finish(self, run: Pass) -> None:
        """Go on to the next epoch, after the last batch of a pass.

        Raises:
            PlanError: The epoch has no batches.
        """
        if not run.delivered and not run.start.batch and not len(self):
            raise no_batches(self._plan.num_records, self._world.size)
        run.finish()

    def plan_for(self, collate_fn: Any) -> None:
        """Plan batches that a collator of a fixed capacity holds; before a `DataLoader` call it yourself.

        Raises:
            PlanError: Not every batch is sure to fit; the argument that is too small is named.
            StateError: The epoch has begun with other batches.
        """
        if (capacity := getattr(collate_fn, "capacity", None)) is None:
            return  # without a look at the corpus, which another process opens when it reads
        plan = within(self._plan, capacity, self.corpus.length_histogram())
        fingerprint = {"corpus": self.corpus.fingerprint, **plan.fingerprint()}
        if fingerprint != self._fingerprint:
            check_not_begun(self._place.reached(), collate_fn)
            self._plan, self._fingerprint = plan, fingerprint

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the next to be delivered, from its start; the epoch of a state just loaded keeps its place.

        Raises:
            PlanError: `epoch` is no integer from 0.
        """
        number, position = check_count("epoch", epoch, error=PlanError), self._next()
        if number != position.epoch or (position.batch and not self._place.kept):
            position = Position(number, 0, position.group)
        if position != self._place.reached():
            self._place.move(position)

    def state_dict(self) -> dict[str, Any]:
        """Return where the latest pass is, as JSON: the same on every rank, valid for any world size.

        Raises:
            StateError: In the main process, while `DataLoader` workers live that iterate, or left an epoch
                half-way: they alone know how far they are, and nobody how much of it was delivered.
        """
        if self._place.workers_iterate:
            raise StateError(WORKERS_KNOW)
        return self._state(self._place.reached())

    def state_of(self, run: Pass) -> dict[str, Any]:
        """Return where a pass is, as `state_dict` does for the latest one."""
        return self._state(run.position)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, on any world size; an iterator in use continues from there at once.

        Batches that `DataLoader` workers have already made cannot be called back: an iteration with workers ends
        with a `StateError`, and the next one begins at the state.

        Raises:
            StateError: `state` is no state of this library.
            StateMismatchError: `state` was taken over other data, arguments or seed; the field is named. Or it was
            taken in the middle of a step, and steps have another number of batches now.
        """
        ranks = {"world_size": self._ask_world().size, "accumulate": self.accumulate}
        position = position_in(state, self._plan, fingerprint=self._fingerprint, **ranks)
        self._place.move(position, loaded=True)

    def check_ranks(self) -> None:
        """Compare plan, position and corpus over all ranks by one small all-gather; every process must call it.

        Raises:
            StateError: torch.distributed is not initialised.
            StateMismatchError: A process differs, which is named with the field, or a rank's batches are taken by
                nobody.
        """
        state = self._state(self._next())
        compared = {name: state[name] for name in ("epoch", "batch", "group", "seed")} | self._fingerprint
        compared |= {"world_size": self.world_size, "accumulate": self.accumulate}
        check_agreement(compared, self.rank, self.world_size)

    def __getstate__(self) -> dict[str, Any]:
        """To another process go the world as it is known here and the position; it reads records of its own."""
        plan = self._plan.at(epoch=-1, group=self._plan.group, records=UNREAD, landmark=Landmark())
        return {**self.__dict__, "_world": self._ask_world(), "_plan": plan, "_records": UNREAD}

    def given(self) -> dict[str, Any]:
        """Return all that batches follow from beside the position: equal while nobody sets an attribute anew."""
        return {**self.__dict__, "_world": self._ask_world(), "_plan": None, "_records": None, "_place": None}

    def __copy__(self) -> Self:
        """Return a dataset with a position of its own."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__getstate__(), _place=copy.copy(self._place))
        return other

    def _next(self) -> Position:
        """Where the next pass begins; in a worker, how far its pass is."""
        self._ask_world()
        return self._place.reached() if get_worker_info() is not None else self._settled(self._place.read())

    def _settled(self, position: Position) -> Position:
        """The start of the next epoch, for a position at the end of one."""
        rest = self._step_size - 1 if self._plan.drop_last else 0  # a step that lacks a batch is dropped
        if position.batch == 0 or self._plan_at(position).has_batch(position.step_begin(self._step_size) + rest):
            return position
        return Position(position.epoch + 1, 0, position.group)

    def _state(self, position: Position) -> dict[str, Any]:
        plan = self._plan_at(position) if self._plan.must_count else self._plan
        ranks = {"step": self._step_size, "accumulate": self.accumulate}
        return state_at(position, plan, fingerprint=self._fingerprint, **ranks)

    @property
    def _step_size(self) -> int:
        return self._world.size * self.accumulate

    def _ask_world(self) -> World:
        """The world; what is known only now makes the steps of a run that has not begun."""
        if get_worker_info() is not None and self._world.known:
            return self._world  # the main process asked; what a worker finds around itself may be nobody's
        before, self._world = self._world, self._world.asked_again()
        if before.size != self._world.size:
            self._place.regroup(before.size * self.accumulate, self._step_size)
        return self._world

    def _plan_at(self, position: Position) -> AnyPlan:
        epoch, _, group, landmark, _ = position
        plan = self._plan
        if (epoch, group) != (plan.epoch, plan.group) or (landmark.window and not plan.knows(landmark)):
            self._records = self.corpus.at_epoch(self.seed, epoch)
            self._plan = plan.at(epoch=epoch, group=group, records=self._records, landmark=landmark)
        return self._plan
