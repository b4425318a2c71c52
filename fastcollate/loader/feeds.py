"""Where a pass's batches come from: gathered here or in worker processes, collated, then sent on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from fastcollate.collate.staged import Allocator, Staged, new_arrays
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.dataset.position import Pass
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.device.ring import Slab
from fastcollate.loader.stats import LoaderStats
from fastcollate.loader.workers import WorkerPool
from fastcollate.plan.permutation import derive_key
from fastcollate.ragged import RaggedBatch

__all__ = ["Feed", "fills_memory", "parcel_size"]

_BATCHES, _TOKENS = 16, 1 << 19  # what a worker sends at once, at most


def fills_memory(collate_fn: Any) -> bool:
    """Return whether a collator can write into given memory, and calling it does no more than that.

    What is derived from such a collator and overrides only its call may do more, and is called.
    """
    homes = {
        name: next((number for number, kind in enumerate(type(collate_fn).__mro__) if name in vars(kind)), None)
        for name in ("__call__", "collate", "stage")
    }
    call, collate, stage = homes.values()
    return call is not None and collate is not None and stage is not None and collate <= call


def parcel_size(tokens_per_batch: float) -> int:
    """Return how many batches a worker sends at once: a message takes longer than making a small batch.

    >>> parcel_size(8_000), parcel_size(200_000)
    (16, 2)
    """
    return max(1, min(_BATCHES, int(_TOKENS / max(1.0, tokens_per_batch))))


@dataclass(frozen=True, slots=True)
class Feed:
    """How the batches of a loader are made.

    Attributes:
        dataset: What is read.
        collate_fn: What makes a batch of a `RaggedBatch`.
        columns: What is gathered for it beside the tokens; None is all that the corpus has.
        fills: Whether it can write into given memory; see `fills_memory`.
        ragged: Whether only tokens travel to the device, and are padded there.
        num_workers: The processes that read, or 0.
        timeout: The seconds after which a worker that sends nothing is an error.
    """

    dataset: PlannedDataset[Any]
    collate_fn: Any
    columns: Collection[str] | None
    fills: bool
    ragged: bool
    num_workers: int
    timeout: float

    def read(self, run: Pass) -> WorkerPool | Iterator[RaggedBatch]:
        """Return what is read in a pass: batches of tokens, or where a pool's workers collate, their batches.

        Worker processes begin at once. Collators that fill given memory do not work there: a batch's tokens come
        from another process in a fraction of the time that its tensors would take.
        """
        if not self.num_workers:
            return self.dataset.batches(run, columns=self.columns)
        there = None if self.fills else self.collate_fn
        return self._pool(_Reading(self.dataset, run, self.columns, there))

    def send(
        self, read: Iterator[Any], copier: DeviceCopier, stats: LoaderStats
    ) -> Generator[OnDevice, None, None]:
        """Return every batch of what `read` returned, collated, on its way to the device.

        What was staged is built there. All of it happens in the thread that iterates.
        """
        if self.num_workers and not self.fills:
            return _from_workers(read, copier, stats)
        return _collate_here(read, self._maker(), copier, stats)

    def _pool(self, reading: _Reading) -> WorkerPool:
        """The processes that read: batches of tokens in parcels, tensors one by one."""
        return WorkerPool(
            reading,
            workers=self.num_workers,
            timeout=self.timeout,
            seed=derive_key(self.dataset.seed, reading.run.start.epoch),
            parcel=parcel_size(self.dataset.tokens_per_batch) if reading.collate_fn is None else 1,
        )

    def _maker(self) -> Callable[[RaggedBatch, Allocator], Any]:
        """What makes a batch in the memory it is given, where the collator can."""
        collate_fn = self.collate_fn
        if self.fills:
            make: Callable[[RaggedBatch, Allocator], Any] = collate_fn.stage if self.ragged else collate_fn.collate
            return make
        return lambda batch, _: collate_fn(batch)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a worker does: its share of a pass, collated if that is not to be done elsewhere."""

    dataset: PlannedDataset[Any]
    run: Pass
    columns: Collection[str] | None
    collate_fn: Any

    def __call__(self, worker: int, num_workers: int) -> Iterable[Any]:
        batches = self.dataset.batches(self.run, columns=self.columns, worker=worker, num_workers=num_workers)
        if self.collate_fn is None:
            return batches
        return (self.collate_fn(batch) for batch in batches)  # not `map`: its StopIteration would end the epoch


def _collate_here(
    batches: Iterator[RaggedBatch],
    make: Callable[[RaggedBatch, Allocator], Any],
    copier: DeviceCopier,
    stats: LoaderStats,
) -> Generator[OnDevice, None, None]:
    to_device = copier.device.type != "cpu"
    if to_device:
        copier.enter_thread()
    while True:
        begun = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        gathered = time.perf_counter()
        slab = copier.next_slab() if to_device else None
        collated = make(batch, new_arrays if slab is None else slab.allocate)
        made = time.perf_counter()
        copied = _send(collated, slab, copier)
        stats.seconds_gather += gathered - begun
        stats.seconds_collate += made - gathered
        stats.seconds_transfer += time.perf_counter() - made
        yield copied


def _from_workers(
    workers: Iterator[Any], copier: DeviceCopier, stats: LoaderStats
) -> Generator[OnDevice, None, None]:
    copier.enter_thread()
    for item in workers:
        begun = time.perf_counter()
        copied = _send(item, None, copier)
        stats.seconds_transfer += time.perf_counter() - begun
        yield copied


def _send(item: Any, slab: Slab | None, copier: DeviceCopier) -> OnDevice:
    """A batch on its way to the device; what was staged is built there."""
    if not isinstance(item, Staged):
        return copier.copy(item, slab)
    arrays = {name: torch.from_numpy(array) for name, array in item.arrays.items()}
    return copier.copy(arrays, slab, item.build)
