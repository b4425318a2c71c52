"""What the workers of a loader do, and for how long: over epochs, while what they hold stays the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from fastcollate.collate.staged import Allocator
from fastcollate.corpus.ahead import is_slow
from fastcollate.dataset.announced import is_beyond_memory
from fastcollate.dataset.parcels import CELLS
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.loader.shared_reads import SharedReads
from fastcollate.loader.workers import WorkerPool
from fastcollate.plan.permutation import derive_key
from fastcollate.plan.state import Position
from fastcollate.ragged import Parcel

__all__ = ["Crew", "Reading", "all_or_each"]

_CELLS = 2 * CELLS  # of a parcel that is handed over: what that costs counts for more batches

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a worker does: its share of a pass, collated if that is not to be done elsewhere.

    Attributes:
        dataset: What is read.
        columns: What is found beside the tokens; None is all that the corpus has.
        collate_fn: What makes a batch; None where rows are sent.
        shares: Whether it fills memory that the main process shares.
        start: Where the pass begins, unless the worker is told another place.
        counter: The collator that counts what the steps of batches have, wherever it makes them; None if none can.
        reads: What the workers' reading is added to; None where memory holds the corpus.
    """

    dataset: PlannedDataset[Any]
    columns: Collection[str] | None
    collate_fn: Any
    shares: bool
    start: Position
    counter: Any = None
    reads: SharedReads | None = None

    def __call__(self, worker: int, num_workers: int, *told: Any) -> Iterator[Any]:
        """Yield parcels, or the batches of each, or what fills them in memory that `told` allocates first."""
        allocate, *rest = told if self.shares else (None, *told)
        (start,) = rest or (self.start,)
        share: dict[str, Any] = {
            "worker": worker,
            "num_workers": num_workers,
            "cells": _CELLS if self.shares else CELLS,
            "counts": None if self.reads is None else self.reads.of(worker),
        }
        counter = self.counter if self.dataset.accumulate > 1 else None  # it costs time, and few ask
        parcels = self.dataset.parcels(start, columns=self.columns, counter=counter, **share)
        if counter is None:
            parcels = map(Parcel.uncounted, parcels)
        if allocate is not None:
            return self._filled(parcels, allocate)
        rows = map(Parcel.side_by_side, parcels)
        if self.collate_fn is None:
            return rows
        return (self.collate_fn(batch) for parcel in rows for batch in parcel.batches())

    def _filled(self, parcels: Iterator[Parcel], allocate: Allocator) -> Iterator[Any]:
        for parcel in parcels:
            yield from all_or_each(partial(self._fill, allocate), parcel)

    def _fill(self, allocate: Allocator, part: Parcel) -> tuple[Any, ...]:
        return *self.collate_fn.fill(part, allocate), len(part), part.steps

    def given(self) -> dict[str, Any] | None:
        """Return all that the items follow from, beside the start: equal as long as nobody changed it.

        None where that is not known: of a function, a corpus or a class that is not ours.
        """
        dataset, collate_fn = self.dataset, self.collate_fn or self.counter
        parts = [dataset, dataset.corpus] if collate_fn is None else [dataset, dataset.corpus, collate_fn]
        if not all(type(part).__module__.startswith("fastcollate.") for part in parts):
            return None
        arguments = {} if collate_fn is None else vars(collate_fn)
        return {
            "dataset": dataset.given(),
            "corpus": dataset.corpus.fingerprint,
            "arguments": {name: value for name, value in arguments.items() if not name.startswith("_")},
        }


class Crew:
    """The workers of a loader. They read epoch after epoch, or each epoch has workers of its own.

    A worker holds a copy of dataset and collator as they were when it was started. Where they have changed since,
    or may have changed unseen, the next epoch has new workers.

    Attributes:
        reads: What the workers have read; None where memory holds the corpus.
    """

    def __init__(self) -> None:
        self._pool: WorkerPool | None = None
        self._given: dict[str, Any] | None = None
        self.reads: SharedReads | None = None

    def begin(self, reading: Reading, *, workers: int, timeout: float) -> WorkerPool:
        """Return a pool whose workers have begun to read, in new processes where they must be new."""
        given, seed = reading.given(), derive_key(reading.dataset.seed, reading.start.epoch)
        pool = self._pool
        if pool is None or given is None or given != self._given or not pool.again(seed, reading.start):
            self.close()
            stays, shares = given is not None, reading.shares
            corpus = reading.dataset.corpus
            far = is_slow(corpus.at_epoch(reading.dataset.seed, reading.start.epoch))
            self.reads = SharedReads.of_workers(workers) if far or is_beyond_memory(corpus) else None
            pool = WorkerPool(
                replace(reading, reads=self.reads),
                workers=workers,
                timeout=timeout,
                seed=seed,
                method="forkserver" if far else None,  # a fork does not copy the threads of connections
                shares=shares,
                stays=stays,
            )
            self._pool, self._given = pool, given
        return pool

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None


def all_or_each(make: Callable[[Parcel], Made], parcel: Parcel) -> Iterator[Made]:
    """Yield what is made of a parcel at once, or of each of its batches if one is wrong.

    Those before the wrong one are delivered, and it is told by its own rows.
    """
    try:
        made = make(parcel)
    except Exception:
        if len(parcel) == 1:
            raise
        yield from map(make, parcel.singles())
        return
    yield made
