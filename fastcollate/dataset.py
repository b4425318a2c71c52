from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from fastcollate.plan.arguments import check_at_least_one, check_integer, make_plan
from fastcollate.plan.epoch import EpochPlan
from fastcollate.plan.ranks import rank_batches
from fastcollate.plan.state import Position, check_state, make_state
from fastcollate.plan.windows import PlannedBatch
from fastcollate.ragged import IntArray, RaggedBatch
from fastcollate.store.mixture import Mixture
from fastcollate.store.reader import Records, TokenStore
from fastcollate.world import place_in_world

__all__ = ["BucketedDataset"]


# What a state must agree with; the world may differ, and epoch and group are part of the state itself.
_FINGERPRINT = (
    "num_records",
    "batch_size",
    "max_tokens",
    "widths",
    "shuffle",
    "window",
    "drop_last",
    "shuffle_block",
    "longest_first",
)

_WIDTHS_SPELLED_OUT = 64


class BucketedDataset(IterableDataset[RaggedBatch]):
    """Batches of records of similar length, in a global order that is a pure function of its arguments.

    Use it in a `DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(...))` or a `StreamLoader`.
    Every rank gets the same number of batches, every record comes once an epoch over all ranks, and the order
    does not depend on the number of workers or ranks.

    Args:
        store: the records, of one store, a view of one, or a mixture.
        batch_size: rows of a batch; or
        max_tokens: padded tokens of a batch at most. Exactly one of the two.
        max_length: cut longer records to this many tokens.
        buckets: the widths batches are padded to (rising), or how many to choose for this store.
        shuffle: False keeps the records of each window in place, sorted by length.
        seed: of the shuffle, with the epoch.
        window: how many records are sorted by length together.
        drop_last: drop the last step if it is not full, instead of filling it up.
        rank, world_size: this process among all; by default `torch.distributed`'s, else torchrun's
            environment variables, else 0 of 1.
        shuffle_block: how many consecutive records stay together in the shuffle (1: none), for storage that
            likes to read ahead.
        longest_first: begin each epoch with its largest step, so that memory runs out at once or never; costs
            a pass over the lengths.

    Raises:
        PlanError: arguments that make no plan for this store.

    >>> from fastcollate import Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1] * n for n in (5, 2, 5, 2)]))
    >>> dataset = BucketedDataset(TokenStore(directory), batch_size=2)
    >>> sorted(batch.lengths.tolist() for batch in dataset)
    [[2, 2], [5, 5]]
    """

    def __init__(
        self,
        store: TokenStore | Mixture,
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        max_length: int | None = None,
        buckets: list[int] | int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        window: int = 65_536,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        shuffle_block: int = 1,
        longest_first: bool = False,
    ) -> None:
        self.store = store
        self.max_length = max_length
        self.rank, self.world_size = place_in_world(rank, world_size)
        self._records = _Clipped(store.at_epoch(check_integer("seed", seed), 0), max_length)
        self._plan = make_plan(
            _clip_histogram(*store.length_histogram, max_length),
            self._records.lengths_at,
            batch_size=batch_size,
            max_tokens=max_tokens,
            buckets=buckets,
            shuffle=shuffle,
            seed=seed,
            window=window,
            drop_last=drop_last,
            group=self.world_size,
            shuffle_block=shuffle_block,
            longest_first=longest_first,
        )
        self.fingerprint = _fingerprint(store, max_length, self._plan)
        self._next = _shared_position(self.world_size)
        self._own_next: Position | None = None  # a worker's own, from its own state_dict
        self._stream: _Stream | None = None
        self._loads = 0

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

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, width) of this epoch's batches on any rank, before the collator adds anything.

        The epoch is planned once to find them.
        """
        return self._plan_for(self.position).shapes()

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the next to be iterated, from its start; the epoch of a loaded state keeps its place."""
        if check_integer("epoch", epoch) != self.position.epoch:
            self._own_next = self._stream = None
            self._next[0], self._next[1] = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where this object's own iterator is, as JSON: the same on every rank."""
        if self._stream is None:
            return self._state(self.position)
        return self._stream.state()

    def state_after(self, start: Position, batches: int) -> dict[str, Any]:
        """The state once each rank has taken `batches` batches from `start` on."""
        plan = self._plan_for(start)
        batch = start.batch + batches * self.world_size
        if batches and plan.tail(start.batch, self.world_size):
            batch = min(batch, plan.num_batches)
        return self._state(start._replace(batch=batch))

    def check_state_dict(self, state: dict[str, Any]) -> Position:
        """The position in `state`; raises what `load_state_dict` raises, and changes nothing."""
        return check_state(state, seed=self._plan.seed, fingerprint=self.fingerprint)

    def skip_finished_epoch(self) -> None:
        """Where a loaded state was taken at an epoch's very end, go to the start of the next."""
        position = self.position
        if position.batch and position.batch >= self._plan_for(position).num_batches:
            self.set_epoch(position.epoch + 1)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, on any world size; an iterator in use continues from there at once.

        Raises:
            StateError: not a state of this library.
            StateMismatchError: taken over other data, arguments or seed; the field is named.
        """
        position = self.check_state_dict(state)
        if get_worker_info() is None:
            self._next.copy_(torch.tensor(position))
        else:
            self._own_next = position
        self._loads += 1

    @property
    def position(self) -> Position:
        """Where the next iteration begins."""
        return self._own_next or Position(*self._next.tolist())

    def _state(self, position: Position) -> dict[str, Any]:
        return make_state(position, seed=self._plan.seed, fingerprint=self.fingerprint)

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes the position, not an iterator in use."""
        return {**self.__dict__, "_stream": None}

    def _begin(self) -> Position:
        """The position to iterate from; the iteration after this one begins at the epoch's start."""
        position = self.position
        if get_worker_info() is None:
            self._next[1] = 0
        self._own_next = None
        return position

    def _plan_for(self, position: Position) -> EpochPlan:
        epoch, _, group = position
        if epoch != self._plan.epoch:
            self._records = _Clipped(self.store.at_epoch(self._plan.seed, epoch), self.max_length)
        if (epoch, group) != (self._plan.epoch, self._plan.group):
            self._plan = replace(self._plan, epoch=epoch, group=group, lengths_at=self._records.lengths_at)
        return self._plan


def _fingerprint(store: TokenStore | Mixture, max_length: int | None, plan: EpochPlan) -> dict[str, Any]:
    arguments = {name: getattr(plan, name) for name in _FINGERPRINT}
    if plan.widths is not None and len(plan.widths) > _WIDTHS_SPELLED_OUT:
        arguments["widths"] = hashlib.sha256(repr(plan.widths).encode()).hexdigest()  # a state stays small
    return {"store": store.fingerprint, "max_length": max_length, **arguments}


class _Clipped(NamedTuple):
    """The records of one epoch, each cut to `max_length` tokens."""

    records: Records
    max_length: int | None

    def lengths_at(self, indices: IntArray) -> IntArray:
        lengths = self.records.lengths_at(indices)
        return lengths if self.max_length is None else np.minimum(lengths, self.max_length)

    def gather(self, planned: PlannedBatch) -> RaggedBatch:
        batch = self.records.gather(planned.record_ids, width=planned.width)
        if self.max_length is not None:
            batch.lengths = np.minimum(batch.lengths, self.max_length)
        return batch


def _clip_histogram(lengths: IntArray, counts: IntArray, max_length: int | None) -> tuple[IntArray, IntArray]:
    """A length histogram (int64[M] each) after records are cut to `max_length`, which must be at least 1."""
    if max_length is None or check_at_least_one("max_length", max_length) >= lengths.max(initial=0):
        return lengths, counts
    kept = int(np.searchsorted(lengths, max_length))
    return np.append(lengths[:kept], max_length), np.append(counts[:kept], counts[kept:].sum())


def _shared_position(world_size: int) -> torch.Tensor:
    """int64[3], a `Position` in shared memory: persistent workers hold copies of a dataset and see it move."""
    position = torch.tensor(Position(0, 0, world_size))
    position.share_memory_()  # type: ignore[no-untyped-call]
    return position


class _Stream(Iterator[RaggedBatch]):
    """One pass over a dataset; it counts what it yielded, and follows a state loaded meanwhile."""

    def __init__(self, dataset: BucketedDataset) -> None:
        self._dataset = dataset
        self._restart()

    def _restart(self) -> None:
        dataset, info = self._dataset, get_worker_info()
        self._loads = dataset._loads  # noqa: SLF001
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
        batch = self._records.gather(next(self._planned))
        self._yielded += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Counted over all ranks and workers, as if each had yielded as many as this one."""
        if self._overtaken():
            return self._dataset._state(self._dataset.position)  # noqa: SLF001
        if self._workers == 1:
            return self._dataset.state_after(self._start, self._yielded)
        batch = self._start.batch + self._yielded * self._dataset.world_size * self._workers
        return self._dataset._state(self._start._replace(batch=batch))  # noqa: SLF001
