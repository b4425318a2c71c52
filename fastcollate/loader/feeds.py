"""Where a loader's batches come from: gathered here or in worker processes, collated, then sent on."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice, zip_longest
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from fastcollate.collate.packing import PackingCollator
from fastcollate.collate.padding import PaddingCollator
from fastcollate.collate.staged import Allocator, Staged, new_arrays
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.device.ring import Slab
from fastcollate.loader.stats import LoaderStats
from fastcollate.ragged import RaggedBatch

__all__ = ["Parcels", "can_stage", "send_batches"]

_BATCHES, _TOKENS = 16, 1 << 19  # what a worker sends at once


def can_stage(collate_fn: Callable[[Any], Any]) -> bool:
    """Whether a collator can write into given memory; what is derived from ours may do more when it is called."""
    return type(collate_fn) in (PaddingCollator, PackingCollator)


def send_batches(
    dataset: PlannedDataset[Any],
    collate_fn: Any,
    *,
    ragged: bool,
    num_workers: int,
    copier: DeviceCopier,
    stats: LoaderStats,
) -> Generator[OnDevice, None, None]:
    """Every batch of `dataset`, collated, on its way to the device; what was staged is built there.

    Worker processes begin at once; everything else happens in the thread that iterates. Our own collators work
    there too: a batch's tokens come from another process in a fraction of the time that its tensors would take.
    """
    workers = partial(DataLoader, batch_size=None, num_workers=num_workers)
    if num_workers and not can_stage(collate_fn):
        return _from_workers(iter(workers(dataset, collate_fn=collate_fn)), copier, stats)
    batches: Iterable[RaggedBatch] = dataset
    if num_workers:
        parcels = Parcels(dataset, dataset.tokens_per_batch)
        batches = _in_turn(iter(workers(parcels, collate_fn=_as_they_are)), num_workers)
    return _collate_here(batches, _maker(collate_fn, ragged=ragged), copier, stats)


class Parcels(IterableDataset[list[RaggedBatch]]):
    """A worker's batches, several at a time: a message between processes takes longer than making a small one.

    Each parcel but the last has as many, 16 or about a megabyte: batches that are dealt in turn stay in order.
    """

    def __init__(self, dataset: Iterable[RaggedBatch], tokens_per_batch: float) -> None:
        self._dataset = dataset
        self._size = max(1, min(_BATCHES, int(_TOKENS / max(1.0, tokens_per_batch))))

    def __iter__(self) -> Iterator[list[RaggedBatch]]:
        batches = iter(self._dataset)
        while parcel := list(islice(batches, self._size)):
            yield parcel


def _as_they_are(parcel: list[RaggedBatch]) -> list[RaggedBatch]:
    return parcel


def _in_turn(parcels: Iterator[list[RaggedBatch]], num_workers: int) -> Iterator[RaggedBatch]:
    """The batches in the order in which they were dealt to the workers, whose parcels come in turn."""
    while dealt := list(islice(parcels, num_workers)):
        for batches in zip_longest(*dealt):
            yield from (batch for batch in batches if batch is not None)


def _collate_here(
    source: Iterable[RaggedBatch],
    make: Callable[[RaggedBatch, Allocator], Any],
    copier: DeviceCopier,
    stats: LoaderStats,
) -> Generator[OnDevice, None, None]:
    copier.enter_thread()
    batches = iter(source)
    while True:
        begun = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        gathered = time.perf_counter()
        slab = copier.next_slab()
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


def _maker(collate_fn: Any, *, ragged: bool) -> Callable[[RaggedBatch, Allocator], Any]:
    """Makes a batch in the memory it is given, where the collator can."""
    if ragged:
        return collate_fn.stage  # type: ignore[no-any-return]
    if can_stage(collate_fn):
        return collate_fn.collate  # type: ignore[no-any-return]
    return lambda batch, _: collate_fn(batch)
