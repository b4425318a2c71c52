"""What a door was given to read: a dataset, or a function that makes it once its rank is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

from fastcollate.dataset.planned import PlannedDataset
from fastcollate.errors import PlanError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.framework import compare_ranks

__all__ = ["Evaluation", "Given", "of_rank"]

Given = PlannedDataset[Any] | Callable[..., PlannedDataset[Any]]


class Evaluation:
    """An `Evaluation` delivers the first epoch in each pass anew, whatever else reads the same dataset.

    Args:
        loader: The loader that is copied for it.

    Attributes:
        loader: The copy, with a dataset and a position of its own.

    >>> from fastcollate import BucketedDataset, PaddingCollator, Ragged
    >>> dataset = BucketedDataset(Ragged.from_rows([[1], [2, 3]]), batch_size=1)
    >>> evaluation = Evaluation(StreamLoader(dataset, PaddingCollator(0)))
    >>> [batch.num_tokens for batch in evaluation] == [batch.num_tokens for batch in evaluation], len(evaluation)
    (True, 2)
    """

    def __init__(self, loader: StreamLoader) -> None:
        self.loader = copy(loader)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.loader.dataset.set_epoch(0)
        return iter(self.loader)


def of_rank(given: Given, *, rank: int, world_size: int, told_by: str) -> PlannedDataset[Any]:
    """Return the dataset of a rank, compared with those of the other ranks where there are any.

    Args:
        given: The dataset, or a function that makes it of `rank=` and `world_size=`.
        rank: Which share of the batches this process takes.
        world_size: How many shares there are.
        told_by: Who says so, for the error.

    Raises:
        PlanError: The dataset is another rank's.
        StateMismatchError: The ranks have different data, arguments or positions.

    >>> from fastcollate import BucketedDataset, Ragged
    >>> make = lambda **ranks: BucketedDataset(Ragged.from_rows([[1], [2, 3]]), batch_size=1, **ranks)
    >>> of_rank(make, rank=1, world_size=2, told_by="the doctest").rank
    1
    """
    dataset = given if isinstance(given, PlannedDataset) else given(rank=rank, world_size=world_size)
    if (dataset.rank, dataset.world_size) != (rank, world_size):
        raise PlanError(
            f"the dataset is rank {dataset.rank} of {dataset.world_size}, and {told_by} says rank {rank} of "
            f"{world_size}: give a function, lambda **ranks: BucketedDataset(store, ..., **ranks)"
        )
    compare_ranks(dataset)
    return dataset
