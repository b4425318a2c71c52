from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from fastcollate.errors import PlanError
from fastcollate.plan.arguments import check_batching, check_integer, check_world, choose_widths
from fastcollate.plan.epoch import EpochPlan, PlannedBatch
from fastcollate.plan.ranks import rank_batches
from fastcollate.plan.state import Position, check_state, make_state
from fastcollate.ragged import IntArray, RaggedBatch
from fastcollate.store.reader import TokenStore

__all__ = ["BucketedDataset"]


# What a state must agree with; the world may differ, and epoch and group are part of the state itself.
_FINGERPRINT = ("num_records", "batch_size", "max_tokens", "widths", "shuffle", "window", "drop_last")


class BucketedDataset(IterableDataset[RaggedBatch]):
    """Batches of records of similar length, in a global order that is a pure function of its arguments.

    Use it in a `DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(...))` or a `StreamLoader`.
    Every rank gets the same number of batches, every record comes once an epoch over all ranks, and the order
    does not depend on the number of workers or ranks.

    Args:
        store: the records.
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
        store: TokenStore,
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
    ) -> None:
        check_batching(len(store), batch_size, max_tokens, max_length, window)
        self.store = store
        self.max_length = max_length
        self.rank, self.world_size = _place_in_world(rank, world_size)
        lengths, counts = store.length_histogram
        self._plan = EpochPlan(
            num_records=len(store),
            lengths_at=self._lengths_at,
            batch_size=batch_size,
            max_tokens=max_tokens,
            widths=choose_widths(buckets, self._clip(lengths), counts),
            shuffle=shuffle,
            seed=check_integer("seed", seed),
            epoch=0,
            window=window,
            drop_last=drop_last,
            group=self.world_size,
        )
        self._check_budget(int(self._clip(lengths)[-1]))
        arguments = {name: getattr(self._plan, name) for name in _FINGERPRINT}
        self.fingerprint = {"store": store.fingerprint, "max_length": max_length, **arguments}
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
        plan = self._plan_for(self.position)
        found: set[tuple[int, int]] = set()
        for window in plan.windows():
            free = plan.widths is None
            widths = self._lengths_at(window.record_ids[window.starts]) if free else window.widths
            found.update(zip(window.rows.tolist(), widths.tolist(), strict=True))
        return sorted(found)

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
        if (position.epoch, position.group) != (self._plan.epoch, self._plan.group):
            self._plan = replace(self._plan, epoch=position.epoch, group=position.group)
        return self._plan

    def _check_budget(self, longest: int) -> None:
        budget, widths = self._plan.max_tokens, self._plan.widths
        widest = widths[-1] if widths else longest
        if budget is None or widest <= budget:
            return
        record = int((self._clip(self.store.lengths) == longest).argmax())
        raise PlanError(
            f"record {record} has {longest} tokens and would be padded to {widest}, more than "
            f"max_tokens={budget}: raise max_tokens or set max_length"
        )

    def _clip(self, lengths: IntArray) -> IntArray:
        return lengths if self.max_length is None else np.minimum(lengths, self.max_length)

    def _lengths_at(self, indices: IntArray) -> IntArray:
        return self._clip(self.store.lengths_at(indices))

    def _gather(self, planned: PlannedBatch) -> RaggedBatch:
        batch = self.store.gather(planned.record_ids, width=planned.width)
        batch.lengths = self._clip(batch.lengths)
        return batch


def _shared_position(world_size: int) -> torch.Tensor:
    """int64[3], a `Position` in shared memory: persistent workers hold copies of a dataset, and must see it move."""
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
        self._plan = dataset._plan_for(self._start)  # noqa: SLF001
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
        batch = self._dataset._gather(next(self._planned))  # noqa: SLF001
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


def _place_in_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process among all: as told, or as `torch.distributed` or torchrun's environment says."""
    if (rank is None) != (world_size is None):
        raise PlanError(f"rank is {rank} and world_size is {world_size}: give both or neither")
    if rank is not None and world_size is not None:
        return check_world(rank, world_size)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    try:
        return check_world(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError:
        raise PlanError(
            "the environment's RANK and WORLD_SIZE are no integers: unset them or give rank="
        ) from None
