"""Loops over the same records in turn: what each delivers, checked to be the same, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastcollate.errors import FastCollateError
from fastcollate.reports.text import announced

if TYPE_CHECKING:
    import torch

Epoch = Callable[[], Iterator[Any]]  # makes the batches of one epoch, each time it is called

ROUNDS = 3
_ODD = 0x1E3779B97F4A7C15  # spreads an id over 64 bits
_EXACT = 1 << 53  # integers below this are the same in every JSON reader


class Count(NamedTuple):
    """A `Count` says what an epoch delivered, so that two loops can be held to the same work.

    Where a batch is a pair of inputs and next-token targets, its tokens are the targets that count.

    Attributes:
        batches: The number of batches.
        cells: The number of places in all batches, padding included.
        tokens: The number of real tokens.
        id_sum: The sum of the real tokens' ids.
        pair_hash: A hash of all pairs of an input and its label, whatever their order.
    """

    batches: int
    cells: int
    tokens: int
    id_sum: int
    pair_hash: int

    @property
    def padding(self) -> float:
        """The part of the cells that holds no token."""
        return 1 - self.tokens / self.cells


@dataclass(frozen=True, slots=True)
class Lap:
    """A `Lap` is one epoch, timed.

    Attributes:
        count: What the epoch delivered.
        seconds: The time that the epoch took.
        cpu_seconds: The time that all threads spent together.
        p99: The seconds that 99 of 100 batches came within.
    """

    count: Count
    seconds: float
    cpu_seconds: float
    p99: float

    @property
    def tokens_per_second(self) -> float:
        """The speed without padding."""
        return self.count.tokens / self.seconds

    @property
    def cpu_seconds_per_million(self) -> float:
        """The CPU seconds of a million real tokens."""
        return self.cpu_seconds / self.count.tokens * 1e6


def race(entrants: Mapping[str, Epoch], *, least: float = 0.0) -> dict[str, Lap]:
    """Time the epochs of all entrants in turn, after a warm-up that counts them; return the median lap of each.

    Args:
        entrants: What makes the batches of an epoch, by the name it is announced under.
        least: The seconds that an entrant runs in each round, one epoch after another; one epoch at least.

    Raises:
        FastCollateError: An entrant did not deliver the same inputs and labels as the first.
    """
    counts: dict[str, Count] = {}
    for name, epoch in entrants.items():
        with announced(f"warming up: {name} ..."):
            counts[name] = count_epoch(epoch())
    _check_equal(counts)
    rounds: dict[str, list[_Round]] = {name: [] for name in entrants}
    for number in range(ROUNDS):
        for name, epoch in entrants.items():
            with announced(f"round {number + 1} of {ROUNDS}: {name} ..."):
                rounds[name].append(_run(epoch, least))
    return {name: _lap(counts[name], rounds[name]) for name in entrants}


def count_epoch(batches: Iterator[Any]) -> Count:
    """Count what an epoch delivers, on the tensors themselves."""
    number, cells, tokens, id_sum, pair_hash = 0, 0, 0, 0, 0
    for batch in batches:
        inputs, read, labels = _real_pairs(batch)
        number += 1
        cells += inputs.numel()
        tokens += labels.numel()
        id_sum += int(labels.sum())
        pair_hash += _hash_of(read, labels)
    return Count(number, cells, tokens, id_sum, pair_hash % _EXACT)


def _real_pairs(batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the inputs, int64[B, T], and of the tokens that count the inputs and the labels.

    In packs every token of a document counts; the first of each document has no label, and stands for its own.
    """
    inputs, labels = batch if isinstance(batch, tuple) else (batch["input_ids"], batch["labels"])
    if not isinstance(batch, dict) or "document_ids" not in batch:
        real = labels != -100
        return inputs, inputs[real], labels[real]
    documents = batch["document_ids"]
    real, firsts = documents >= 0, documents != documents.roll(1, dims=1)
    firsts[:, 0] = True
    return inputs, inputs[real], labels.where(~firsts, inputs)[real]


def _hash_of(inputs: torch.Tensor, labels: torch.Tensor) -> int:
    """Sum a hash of each pair, so that the pairs' order has no say. Products that overflow wrap around."""
    mixed = inputs * _ODD
    mixed = ((mixed ^ (mixed >> 29)) + labels) * _ODD
    return int((mixed ^ (mixed >> 32)).sum())


def _check_equal(counts: Mapping[str, Count]) -> None:
    first, *others = counts
    wanted = counts[first]
    for name in others:
        found = counts[name]
        if found[2:] != wanted[2:]:
            raise FastCollateError(
                f"{first} delivered {wanted.tokens} targets with the sum {wanted.id_sum} and the hash "
                f"{wanted.pair_hash}, {name} {found.tokens} with {found.id_sum} and {found.pair_hash}: these must "
                "be equal; please report it"
            )


class _Round(NamedTuple):
    """Seconds and CPU seconds of an epoch, and the seconds before each batch."""

    seconds: float
    cpu_seconds: float
    waits: list[float]


def _run(epoch: Epoch, least: float) -> _Round:
    waits: list[float] = []
    epochs, begun, cpu_begun = 0, time.perf_counter(), time.process_time()
    while epochs == 0 or time.perf_counter() - begun < least:
        last = time.perf_counter()
        for _ in epoch():
            now = time.perf_counter()
            waits.append(now - last)
            last = now
        epochs += 1
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    return _Round(seconds / epochs, cpu_seconds / epochs, waits)


def _lap(count: Count, rounds: list[_Round]) -> Lap:
    waits = [wait for run in rounds for wait in run.waits]
    seconds, cpu_seconds = (median(times) for times in zip(*(run[:2] for run in rounds), strict=True))
    return Lap(count, seconds, cpu_seconds, float(np.percentile(waits, 99)))
