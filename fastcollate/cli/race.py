"""The plain loop and ours over the same records: what each delivers, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import TYPE_CHECKING

from fastcollate.errors import FastCollateError
from fastcollate.store.reader import TokenStore

if TYPE_CHECKING:
    import torch

    Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Lap:
    """One epoch: `targets` are the labels that count, `id_sum` the sum of their ids, `cells` all places."""

    batches: int
    cells: int
    targets: int
    id_sum: int
    seconds: float

    @property
    def padding(self) -> float:
        """The part of the cells that holds no target."""
        return 1 - self.targets / self.cells

    @property
    def tokens_per_second(self) -> float:
        """Padding does not count."""
        return self.targets / self.seconds


def race(store: TokenStore, *, batch_size: int, seed: int) -> tuple[Lap, Lap]:
    """The plain loop's lap and ours, each timed over a few epochs in turn (the median) after a warm-up.

    Raises:
        FastCollateError: the two did not deliver the same targets.
    """
    eot = store.eot_token_id
    rows = [row[:-1].tolist() for row in store]  # the plain loop appends the end token itself

    def plain_loop() -> Batches:
        return plain_epoch(rows, batch_size=batch_size, eot=eot, seed=seed)

    entrants = (plain_loop, _our_epochs(store, batch_size, seed))
    counts = [_count(epoch()) for epoch in entrants]  # the warm-up
    if counts[0][2:] != counts[1][2:]:
        raise FastCollateError(
            f"the plain loop delivered {counts[0][2]} targets with the sum {counts[0][3]}, fastcollate "
            f"{counts[1][2]} with {counts[1][3]}: these must be equal; please report it"
        )
    times = [[_seconds(epoch()) for epoch in entrants] for _ in range(ROUNDS)]
    plain, fast = (Lap(*count, median(t)) for count, t in zip(counts, zip(*times, strict=True), strict=True))
    return plain, fast


def plain_epoch(rows: list[list[int]], *, batch_size: int, eot: int, seed: int) -> Batches:
    """What most training scripts do: shuffle, take the next rows, pad them in a Python loop."""
    order = list(range(len(rows)))
    Random(seed).shuffle(order)  # noqa: S311  # an order, no secret
    for start in range(0, len(order), batch_size):
        yield plain_collate([rows[i] for i in order[start : start + batch_size]], eot)


def plain_collate(rows: list[list[int]], eot: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token inputs and targets, int64[B, T], row by row; targets after a row's end are ignored."""
    import torch  # noqa: PLC0415

    width = max(map(len, rows)) + 1
    inputs, targets = [], []
    for row in rows:
        padded = row + [eot] * (width - len(row))
        target = torch.tensor(padded[1:])
        ends = torch.nonzero(target == eot).flatten()
        target[ends[1:]] = -100
        inputs.append(torch.tensor(padded[:-1]))
        targets.append(target)
    return torch.stack(inputs), torch.stack(targets)


def _our_epochs(store: TokenStore, batch_size: int, seed: int) -> Callable[[], Batches]:
    from fastcollate import BucketedDataset, PaddingCollator, StreamLoader  # noqa: PLC0415

    dataset = BucketedDataset(store, batch_size=batch_size, seed=seed, rank=0, world_size=1)
    loader = StreamLoader(dataset, PaddingCollator(store.eot_token_id, shift_labels=True, as_tuple=True))
    return lambda: iter(loader)


def _count(batches: Batches) -> tuple[int, int, int, int]:
    """Batches, cells, targets and the sum of the targets' ids, counted on the tensors themselves."""
    number, cells, targets, id_sum = 0, 0, 0, 0
    for inputs, labels in batches:
        learned = labels[labels != -100]
        number += 1
        cells += inputs.numel()
        targets += learned.numel()
        id_sum += int(learned.sum())
    return number, cells, targets, id_sum


def _seconds(batches: Batches) -> float:
    begun = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - begun
