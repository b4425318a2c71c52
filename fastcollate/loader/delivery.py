"""One pass of a loader: the rest of an epoch, counted batch by batch as it is delivered."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import torch

from fastcollate.collate.batch import Batch
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.device.items import count_bytes
from fastcollate.device.prefetch import Prefetcher
from fastcollate.loader.crew import Crew
from fastcollate.loader.feeds import Feed
from fastcollate.loader.stats import LoaderStats
from fastcollate.loader.workers import WorkerPool

__all__ = ["Delivery"]

_LEAST = 1 << 15  # bytes
_LONG, _MUCH = 5.0, 0.05  # seconds of a pass, and the part of them, from which on waiting is told of


class Delivery(Iterator[Any]):
    """The batches of one pass, on the loader's device; what was prepared ahead is not counted.

    Attributes:
        run: The pass of the dataset, which moves its position.
    """

    def __init__(self, feed: Feed, crew: Crew, copier: DeviceCopier, stats: LoaderStats, *, prefetch: int) -> None:
        self.run = feed.dataset.begin()
        self._dataset = feed.dataset
        self._copier = copier
        self._stats = stats
        self._begun, self._waited = time.perf_counter(), (stats.reads.seconds_waited, stats.seconds_waited)
        self._read = feed.read(self.run, crew, stats.reads)
        self._reads = crew.reads if isinstance(self._read, WorkerPool) else None
        self._ready = deque[Any]()  # what is left of the latest parcel
        self._event: torch.cuda.Event | None = None  # what their copy to the device ends with
        self._source: Generator[OnDevice, None, None] | Prefetcher[OnDevice]
        self._source = sent = feed.send(self._read, copier, stats)
        if copier.device.type != "cpu":
            self._source = Prefetcher(sent, depth=prefetch, size=_cost)

    def __next__(self) -> Any:
        stats = self._stats
        if not self._ready:
            begun = time.perf_counter()
            copied = next(self._source)
            stats.seconds_waited += time.perf_counter() - begun
            self._ready, self._event = deque(copied.item), copied.event
            if self._reads is not None:
                stats.reads += self._reads.take()
            if copied.copies:
                stats.bytes_copied += copied.bytes
                stats.copies += copied.copies
                stats.seconds_on_bus = self._copier.seconds_on_bus
        item = self._ready.popleft()
        if self._event is not None:
            item = self._copier.hand_over(item, self._event)
        self.run.deliver()
        stats.batches += 1
        if isinstance(item, Batch):
            stats.tokens += item.num_tokens
            stats.cells += item["input_ids"].numel()
        return item

    def finish(self) -> None:
        """After the last batch: end the source, complete the statistics and go on to the next epoch."""
        self._source.close()
        self._copier.settle()
        self._stats.seconds_on_bus = self._copier.seconds_on_bus
        self._dataset.finish(self.run)
        of_storage, of_all = self._waited
        waited = self._stats.reads.seconds_waited - of_storage
        if self._reads is not None:  # what workers wait for is lost where their batches are waited for, too
            waited = min(waited, self._stats.seconds_waited - of_all)
        _tell_waiting(waited, time.perf_counter() - self._begun)

    def close(self) -> None:
        """End the source, workers first: whoever waits for a stuck one waits no longer.

        The parcel that is being made is waited for: the next pass uses the same memory.
        """
        if isinstance(self._read, WorkerPool):
            self._read.close()
        self._source.close()
        if isinstance(self._read, Generator):  # it may be hashing files beside
            self._read.close()


def _tell_waiting(waited: float, whole: float) -> None:
    """Warn of a pass that has waited for storage for a good part of its time, and say what to change."""
    if whole > _LONG and waited > _MUCH * whole:
        warnings.warn(
            f"{waited:.0f} of the {whole:.0f} seconds of this pass were spent on waiting for storage "
            f"({waited / whole:.0%}): make shuffle_block larger, so that more is read at once, read from a faster "
            "disk, give the process more memory, or keep what a bucket gives on a disk (cache_dir)",
            stacklevel=4,
        )


def _cost(copied: OnDevice) -> int:
    """The bytes of some batches; tiny ones cost more, so that not too many are made ahead."""
    return max(count_bytes(copied.item), len(copied.item) * _LEAST)
