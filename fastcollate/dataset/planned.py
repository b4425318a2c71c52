from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, Self, TypeVar

import torch
from torch.utils.data import IterableDataset, get_worker_info

from fastcollate.arguments import check_count
from fastcollate.corpus.mixture import Mixture
from fastcollate.dataset.world import place_in_world
from fastcollate.errors import PlanError, StateError
from fastcollate.plan.order import Landmark, PlannedBatch, WindowedPlan
from fastcollate.plan.ranks import rank_batches
from fastcollate.plan.state import Position, check_state, make_state
from fastcollate.ragged import RaggedBatch
from fastcollate.store.reader import Records, TokenStore

__all__ = ["PlannedDataset"]

_GENERATION, _NOTES, _WORKERS = 6, 7, 1024

AnyPlan = TypeVar("AnyPlan", bound=WindowedPlan[Any])


class PlannedDataset(IterableDataset[RaggedBatch], Generic[AnyPlan]):
    """What datasets over a plan share: the epoch, ranks, workers, and a state that is a position in the plan."""

    def __init__(
        self, store: TokenStore | Mixture, *, seed: int, rank: int | None, world_size: int | None
    ) -> None:
        if not isinstance(store, TokenStore | Mixture):
            raise PlanError(
                f"the store is a {type(store).__name__}: open one with TokenStore(path), or mix several"
            )
        self.store = store
        self.rank, self.world_size = place_in_world(rank, world_size)
        self._records: Records = store.at_epoch(check_count("seed", seed, error=PlanError), 0)
        self._plan: AnyPlan
        self.fingerprint: dict[str, Any]
        self._next = _shared_position(self.world_size)
        self._own_next: Position | None = None  # a worker's own, from its own state_dict
        self._stream: _Stream | None = None
        self._loads = 0

    @property
    def tokens_per_batch(self) -> float:
        """About how many tokens a batch has."""
        lengths, counts = self.store.length_histogram
        return self._plan.tokens_per_batch(float(lengths @ counts) / max(1, len(self.store)))

    @abstractmethod
    def _gather(self, records: Records, planned: PlannedBatch) -> RaggedBatch:
        """The rows of a planned batch."""

    def __len__(self) -> int:
        """Batches of an epoch on this rank; with `max_tokens` the first call passes over the lengths."""
        batches = self._plan_for(self.position).num_batches
        return batches // self.world_size if self._plan.drop_last else -(-batches // self.world_size)

    def __iter__(self) -> Iterator[RaggedBatch]:
        self._stream = _Stream(self)
        return self._stream

    @property
    def epoch(self) -> int:
        """The epoch the next iteration delivers."""
        return self.position.epoch

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the next to be iterated, from its start; the epoch of a loaded state keeps its place."""
        if check_count("epoch", epoch, error=PlanError) != self.position.epoch:
            self._own_next = self._stream = None
            self._go_to(Position(epoch, 0, self.position.group))

    def state_dict(self) -> dict[str, Any]:
        """Where this object's own iterator is, as JSON: the same on every rank."""
        if self._stream is None:
            return self._state(self.position)
        return self._stream.state()

    def state_after(self, start: Position, batches: int) -> dict[str, Any]:
        """The state once each rank has taken `batches` batches from `start` on."""
        batch, landmark = self._plan_for(start).place(start.batch + batches * self.world_size)
        return self._state(start._replace(batch=batch, landmark=landmark))

    def check_state_dict(self, state: dict[str, Any]) -> Position:
        """The position in `state`; raises what `load_state_dict` raises, and changes nothing."""
        position = check_state(state, seed=self._plan.seed, fingerprint=self.fingerprint)
        if position.landmark.window > self._plan.num_windows:
            raise StateError(f"the state's landmark is {position.landmark}: the plan has fewer windows")
        return position

    def skip_finished_epoch(self) -> None:
        """Where a loaded state was taken at an epoch's very end, go to the start of the next."""
        position = self.position
        if position.batch and not self._plan_for(position).has_batch(position.batch):
            self.set_epoch(position.epoch + 1)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, on any world size; an iterator in use continues from there at once.

        Batches that `DataLoader` workers have already made cannot be called back: an iteration with workers ends
        with a `StateError`, and the next one begins at the state.

        Raises:
            StateError: not a state of this library.
            StateMismatchError: taken over other data, arguments or seed; the field is named.
        """
        position = self.check_state_dict(state)
        if get_worker_info() is None:
            self._go_to(position)
            self._next[_GENERATION] += 1
        else:
            self._own_next = position
        self._loads += 1

    @property
    def position(self) -> Position:
        """Where the next iteration begins."""
        if self._own_next is not None:
            return self._own_next
        epoch, batch, group, *landmark = self._next[:_GENERATION].tolist()
        return Position(epoch, batch, group, Landmark(*landmark))

    def _go_to(self, position: Position) -> None:
        self._next[:_GENERATION] = torch.tensor([*position[:3], *position.landmark], device="cpu")

    def _state(self, position: Position) -> dict[str, Any]:
        must_count = self._plan.must_count
        return make_state(position, seed=self._plan.seed, fingerprint=self.fingerprint, must_count=must_count)

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes the position, not an iterator in use."""
        return {**self.__dict__, "_stream": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._next.share_memory_()  # type: ignore[no-untyped-call]  # a copy's own workers must see it move

    def __copy__(self) -> Self:
        """A dataset with a position of its own."""
        other = object.__new__(type(self))
        other.__setstate__({**self.__getstate__(), "_next": self._next.clone()})
        return other

    def _begin(self) -> Position:
        """The position to iterate from; the iteration after this one begins at the epoch's start.

        A worker cannot take the loaded position away from its siblings, so it notes in a place of its own that
        it has begun there.
        """
        position, info = self.position, get_worker_info()
        if info is None:
            self._go_to(position._replace(batch=0, landmark=Landmark()))
        elif self._own_next is None:
            noted, generation = self._next[_NOTES:], self._next[_GENERATION]
            if noted[info.id % _WORKERS] == generation:
                position = position._replace(batch=0)
            noted[info.id % _WORKERS] = generation
        self._own_next = None
        return position

    def _plan_for(self, position: Position) -> AnyPlan:
        epoch, _, group, landmark = position
        if (epoch, group) != (self._plan.epoch, self._plan.group) or not self._plan.knows(landmark):
            self._records = self.store.at_epoch(self._plan.seed, epoch)
            self._plan = self._plan.at(epoch=epoch, group=group, records=self._records, landmark=landmark)
        return self._plan


def _shared_position(world_size: int) -> torch.Tensor:
    """A `Position` in shared memory, for persistent workers hold copies of a dataset and must see it move.

    int64[7 + workers]: the position, how many states were loaded, and for each worker in which of these
    generations it last began.
    """
    position = torch.zeros(_NOTES + _WORKERS, dtype=torch.int64, device="cpu")
    position[2], position[_GENERATION] = world_size, 1
    position.share_memory_()  # type: ignore[no-untyped-call]
    return position


class _Stream(Iterator[RaggedBatch]):
    """One pass over a dataset; it counts what it yielded, and follows a state loaded meanwhile."""

    def __init__(self, dataset: PlannedDataset[Any]) -> None:
        self._dataset = dataset
        self._restart()

    def _restart(self) -> None:
        dataset, info = self._dataset, get_worker_info()
        self._loads, self._generation = dataset._loads, int(dataset._next[_GENERATION])  # noqa: SLF001
        self._start = dataset._begin()  # noqa: SLF001
        self._plan, self._records = dataset._plan_for(self._start), dataset._records  # noqa: SLF001
        self._workers = 1 if info is None else info.num_workers
        self._yielded = 0
        self._planned = rank_batches(
            self._plan,
            start=self._start.batch,
            rank=dataset.rank,
            world_size=dataset.world_size,
            worker=0 if info is None else info.id,
            num_workers=self._workers,
        )

    def _overtaken(self) -> bool:
        """Whether a state was loaded since, and this is the iterator it is meant for."""
        return self._loads != self._dataset._loads and self._dataset._stream is self  # noqa: SLF001

    def __next__(self) -> RaggedBatch:
        if self._overtaken():
            self._restart()
        elif get_worker_info() is not None and self._generation != self._dataset._next[_GENERATION]:  # noqa: SLF001
            raise StateError("load_state_dict was called while DataLoader workers iterate: begin a new iteration")
        batch = self._dataset._gather(self._records, next(self._planned))  # noqa: SLF001
        self._yielded += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Counted over all ranks and workers, as if each had yielded as many as this one."""
        if self._overtaken():
            return self._dataset._state(self._dataset.position)  # noqa: SLF001
        return self._dataset.state_after(self._start, self._yielded * self._workers)
