"""Where a pass's batches come from: found here or read in worker processes, collated, then sent on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from fastcollate.collate.staged import Allocator, Staged, new_arrays
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.dataset.position import Pass
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.errors import CollateError
from fastcollate.loader.stats import LoaderStats
from fastcollate.loader.workers import WorkerPool
from fastcollate.plan.permutation import derive_key
from fastcollate.ragged import Parcel, RaggedBatch

__all__ = ["Feed", "fills_memory"]

Make = Callable[[Parcel, Allocator], Any]  # the batches of a parcel, or what travels instead


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


@dataclass(frozen=True, slots=True)
class Feed:
    """How the batches of a loader are made.

    Attributes:
        dataset: What is read.
        collate_fn: What makes a batch of a `RaggedBatch`.
        columns: What is found for it beside the tokens; None is all that the corpus has.
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

    def read(self, run: Pass) -> WorkerPool | Iterator[Parcel]:
        """Return what is read in a pass: parcels of rows, or a pool whose workers read them.

        Worker processes begin at once. Collators that fill given memory do not work there: a batch's tokens come
        from another process in a fraction of the time that its tensors would take.
        """
        if not self.num_workers:
            return self.dataset.parcels(run, columns=self.columns)
        return WorkerPool(
            _Reading(self.dataset, run, self.columns, None if self.fills else self.collate_fn),
            workers=self.num_workers,
            timeout=self.timeout,
            seed=derive_key(self.dataset.seed, run.start.epoch),
        )

    def send(
        self, read: WorkerPool | Iterator[Parcel], copier: DeviceCopier, stats: LoaderStats
    ) -> Generator[OnDevice, None, None]:
        """Return what `read` returned, collated, on its way to the device: lists of batches.

        What was staged is built there. All of it happens in the thread that iterates.
        """
        if isinstance(read, WorkerPool):
            return self._from_workers(read, copier, stats)
        return self._from_here(read, copier, stats)

    def _from_here(
        self, parcels: Iterator[Parcel], copier: DeviceCopier, stats: LoaderStats
    ) -> Generator[OnDevice, None, None]:
        copier.enter_thread()
        while True:
            begun = time.perf_counter()
            parcel = next(parcels, None)
            if parcel is None:
                return
            if not self.fills:
                parcel = parcel.side_by_side()
            stats.seconds_gather += time.perf_counter() - begun
            yield from self._collated(parcel, copier, stats)

    def _from_workers(
        self, pool: WorkerPool, copier: DeviceCopier, stats: LoaderStats
    ) -> Generator[OnDevice, None, None]:
        copier.enter_thread()
        if self.fills:
            pool.unpack = lambda parcel: _one_by_one(self._collated(parcel, copier, stats))
        else:
            pool.unpack = lambda item: iter([_sent(lambda _: [item], copier, stats)])
        while True:
            begun, busy = time.perf_counter(), stats.seconds_collate + stats.seconds_transfer
            copied = next(pool, None)
            if copied is None:
                return
            if self.fills:  # the rest was waiting
                busy = stats.seconds_collate + stats.seconds_transfer - busy
                stats.seconds_gather += max(0.0, time.perf_counter() - begun - busy)
            yield copied

    def _collated(self, parcel: Parcel, copier: DeviceCopier, stats: LoaderStats) -> Iterator[OnDevice]:
        """A parcel's batches on their way: all at once, or one by one if each is called for or one is wrong."""
        if not self.fills:
            for batch in parcel.batches():
                yield _sent(partial(self._call, batch), copier, stats)
            return
        make: Make = self.collate_fn.stage if self.ragged else self.collate_fn.collate
        try:
            sent = _sent(partial(make, parcel), copier, stats)
        except Exception:
            if len(parcel) == 1:
                raise
            for part in parcel.singles():  # those before the wrong one are delivered, and it is told by its rows
                yield _sent(partial(make, part), copier, stats)
            return
        if not isinstance(sent.item, list) or len(sent.item) != len(parcel):
            kind, found = type(self.collate_fn).__name__, type(sent.item).__name__
            raise CollateError(
                f"{kind} made a {found} of {len(sent.item)} of a parcel of {len(parcel)} batches: `collate`, and "
                "what `stage` builds, return a list with each of them"
            )
        yield sent

    def _call(self, batch: RaggedBatch, _: Allocator) -> list[Any]:
        """The batch that a collator makes that is merely called."""
        return [self.collate_fn(batch)]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a worker does: its share of a pass, collated if that is not to be done elsewhere."""

    dataset: PlannedDataset[Any]
    run: Pass
    columns: Collection[str] | None
    collate_fn: Any

    def __call__(self, worker: int, num_workers: int) -> Iterator[Any]:
        parcels = self.dataset.parcels(self.run, columns=self.columns, worker=worker, num_workers=num_workers)
        for parcel in map(Parcel.side_by_side, parcels):
            if self.collate_fn is None:
                yield parcel
            else:
                yield from (self.collate_fn(batch) for batch in parcel.batches())


def _sent(make: Callable[[Allocator], Any], copier: DeviceCopier, stats: LoaderStats) -> OnDevice:
    """Batches made, and on their way to the device; what was staged is built there."""
    begun = time.perf_counter()
    slab = copier.next_slab()
    made = make(new_arrays if slab is None else slab.allocate)
    collated = time.perf_counter()
    if isinstance(made, Staged):
        arrays = {name: torch.from_numpy(array) for name, array in made.arrays.items()}
        copied = copier.copy(arrays, slab, made.build)
    else:
        copied = copier.copy(made, slab)
    stats.seconds_collate += collated - begun
    stats.seconds_transfer += time.perf_counter() - collated
    return copied


def _one_by_one(sent: Iterator[OnDevice]) -> Iterator[OnDevice]:
    """Each batch alone; the bytes that went over the bus are the first one's."""
    for copied in sent:
        for item in copied.item:
            yield copied._replace(item=[item])
            copied = copied._replace(bytes=0, copies=0)  # noqa: PLW2901
