"""Where a pass's batches come from: found here or read in worker processes, collated, then sent on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from fastcollate.collate.batch import with_steps
from fastcollate.collate.staged import Allocator, Staged, new_arrays
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.dataset.position import Pass
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.errors import CollateError
from fastcollate.loader.crew import Crew, Reading, all_or_each
from fastcollate.loader.stats import LoaderStats
from fastcollate.loader.workers import WorkerPool
from fastcollate.ragged import Parcel, RaggedBatch
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["Feed", "counter_of", "fills_flat", "fills_memory"]

Make = Callable[[Parcel, Allocator], Any]  # the batches of a parcel, or what travels instead


def fills_memory(collate_fn: Any) -> bool:
    """Return whether a collator can write into given memory, and calling it does no more than that.

    What is derived from such a collator and overrides only its call may do more, and is called.
    """
    call, collate, stage = (_home_of(collate_fn, name) for name in ("__call__", "collate", "stage"))
    return call is not None and collate is not None and stage is not None and collate <= call


def counter_of(collate_fn: Any) -> Any:
    """Return a collator if it can count what steps have; None where calling it may do more than it counts."""
    return collate_fn if fills_memory(collate_fn) and hasattr(collate_fn, "count") else None


def fills_flat(collate_fn: Any) -> bool:
    """Return whether a collator can also fill flat arrays, which another process gives out batch by batch."""
    collate, fill = (_home_of(collate_fn, name) for name in ("collate", "fill"))
    return fills_memory(collate_fn) and collate is not None and fill is not None and fill <= collate


def _home_of(collate_fn: Any, method: str) -> int | None:
    """How far up the bases of a collator's type a method stems from; None if it has none."""
    bases = enumerate(type(collate_fn).__mro__)
    return next((number for number, kind in bases if method in vars(kind)), None)


@dataclass(frozen=True, slots=True)
class Feed:
    """How the batches of a loader are made.

    Attributes:
        dataset: What is read.
        collate_fn: What makes a batch of a `RaggedBatch`.
        columns: What is found for it beside the tokens; None is all that the corpus has.
        fills: Whether it can write into given memory; see `fills_memory`.
        ragged: Whether only tokens travel to the device, and are padded there.
        shares: Whether workers make the batches themselves, in memory that this process shares.
        num_workers: The processes that read, or 0.
        timeout: The seconds after which a worker that sends nothing is an error.
    """

    dataset: PlannedDataset[Any]
    collate_fn: Any
    columns: Collection[str] | None
    fills: bool
    ragged: bool
    shares: bool
    num_workers: int
    timeout: float

    @property
    def counter(self) -> Any:
        """The collator, if it can count what steps have."""
        return counter_of(self.collate_fn)

    def read(self, run: Pass, crew: Crew, counts: ReadCounts) -> WorkerPool | Iterator[Parcel]:
        """Return what is read in a pass: parcels of rows, or a pool whose workers read them.

        The workers of `crew` begin at once. Where batches go to a device they are collated here, in memory that is
        copied from there: their tokens come from another process in a fraction of the time of their tensors.
        """
        if not self.num_workers:
            return self.dataset.parcels(run.start, columns=self.columns, counts=counts)
        made_here = self.fills and not self.shares
        collate_fn = None if made_here else self.collate_fn
        reading = Reading(self.dataset, self.columns, collate_fn, self.shares, run.start, self.counter)
        return crew.begin(reading, workers=self.num_workers, timeout=self.timeout)

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
        if self.shares:
            yield from self._given_out(pool, stats)
            return
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

        def sent(part: Parcel) -> OnDevice:
            copied = _sent(partial(make, part), copier, stats)
            _check_made(self.collate_fn, copied.item, len(part))
            return copied._replace(item=with_steps(copied.item, part, self.collate_fn))

        yield from all_or_each(sent, parcel)

    def _given_out(self, pool: WorkerPool, stats: LoaderStats) -> Iterator[OnDevice]:
        """The batches that workers filled, as many at a time as have come."""

        def unpack(filled: Any) -> Iterator[Any]:
            arrays, build, count, steps = filled
            made = build.batches(arrays)
            _check_made(self.collate_fn, made, count)
            return iter(with_steps(made, steps, self.collate_fn))

        pool.unpack = unpack
        while True:
            begun = time.perf_counter()
            items = pool.take()
            stats.seconds_gather += time.perf_counter() - begun
            if not items:
                return
            yield OnDevice(items, None, 0, 0, lent=False)

    def _call(self, batch: RaggedBatch, _: Allocator) -> list[Any]:
        """The batch that a collator makes that is merely called."""
        return [self.collate_fn(batch)]


def _check_made(collate_fn: Any, made: Any, count: int) -> None:
    if not isinstance(made, list) or len(made) != count:
        raise CollateError(
            f"{type(collate_fn).__name__} made a {type(made).__name__} of {len(made)} of a parcel of {count} "
            "batches: `collate`, and what `stage` or `fill` returns, makes a list with each of them"
        )


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
    for items, event, size, copies, lent in sent:
        for item in items:
            yield OnDevice([item], event, size, copies, lent)
            size = copies = 0  # noqa: PLW2901
