"""Where a pass's batches come from: gathered here or in worker processes, collated, then sent on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable
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
        ragged: Whether only tokens travel to the device, and are padded there.
        num_workers: The processes that read, or 0.
        timeout: The seconds after which a worker that sends nothing is an error.
    """

    dataset: PlannedDataset[Any]
    collate_fn: Any
    ragged: bool
    num_workers: int
    timeout: float

    def send(self, run: Pass, copier: DeviceCopier, stats: LoaderStats) -> Generator[OnDevice, None, None]:
        """Return every batch of a pass, collated, on its way to the device; what was staged is built there.

        Worker processes begin at once; everything else happens in the thread that iterates. Collators that fill
        given memory work there too: a batch's tokens come from another process in a fraction of the time that its
        tensors would take.
        """
        columns = getattr(self.collate_fn, "columns", None)
        here = fills_memory(self.collate_fn)
        batches: Iterable[Any]
        if self.num_workers:
            batches = self._pool(_Reading(self.dataset, run, columns, None if here else self.collate_fn))
        else:
            batches = self.dataset.batches(run, columns=columns)
        if self.num_workers and not here:
            return _from_workers(batches, copier, stats)
        return _collate_here(batches, self._maker(), copier, stats)

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
        if fills_memory(collate_fn):
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
        return batches if self.collate_fn is None else map(self.collate_fn, batches)


def _collate_here(
    source: Iterable[RaggedBatch],
    make: Callable[[RaggedBatch, Allocator], Any],
    copier: DeviceCopier,
    stats: LoaderStats,
) -> Generator[OnDevice, None, None]:
    to_device = copier.device.type != "cpu"
    if to_device:
        copier.enter_thread()
    batches = iter(source)
    try:
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
    finally:
        _close(batches)


def _from_workers(
    workers: Iterable[Any], copier: DeviceCopier, stats: LoaderStats
) -> Generator[OnDevice, None, None]:
    copier.enter_thread()
    try:
        for item in workers:
            begun = time.perf_counter()
            copied = _send(item, None, copier)
            stats.seconds_transfer += time.perf_counter() - begun
            yield copied
    finally:
        _close(workers)


def _close(batches: Iterable[Any]) -> None:
    """End the processes of a pool now: nobody knows when it would be collected."""
    if isinstance(batches, WorkerPool):
        batches.close()


def _send(item: Any, slab: Slab | None, copier: DeviceCopier) -> OnDevice:
    """A batch on its way to the device; what was staged is built there."""
    if not isinstance(item, Staged):
        return copier.copy(item, slab)
    arrays = {name: torch.from_numpy(array) for name, array in item.arrays.items()}
    return copier.copy(arrays, slab, item.build)
