"""Lightning: a data module whose datasets know their rank, and whose state is in the trainer's checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch.distributed

from fastcollate.dataset.planned import PlannedDataset
from fastcollate.errors import PlanError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.framework import framework

__all__ = ["StreamDataMixin"]  # and StreamDataModule, which is made when it is asked for

Given = PlannedDataset[Any] | Callable[..., PlannedDataset[Any]]


class StreamDataMixin:
    """A `StreamDataMixin` makes a `LightningDataModule` of datasets and a collator.

    `from fastcollate.trainers.lightning import StreamDataModule` gives the class made of both. Where
    `pytorch_lightning` is used, it is `class Data(StreamDataMixin, pytorch_lightning.LightningDataModule)`.

    Trainer takes the loader's state into its checkpoints, so that `fit(..., ckpt_path=...)` goes on at the very
    batch, also on another number of devices. Epochs follow each other in orders of their own: an epoch that
    `limit_train_batches` cuts short is gone on with by the next one. Evaluation sets come in one order. Trainer's
    `use_distributed_sampler` changes nothing here: the batches are divided over the ranks already.

    Args:
        train: The dataset to train on, or a function that makes it of `rank=` and `world_size=`, which is called
            once these are known. It must be such a function where a strategy divides a model over devices.
        collate_fn: What makes a batch of rows, such as a `PaddingCollator`.
        val: What `Trainer.fit` and `Trainer.validate` evaluate on: a dataset, or a function as above.
        test: What `Trainer.test` evaluates on.
        predict: What `Trainer.predict` runs on.
        num_workers: The number of processes that read for each loader; 0, the default, reads in this one.

    >>> from fastcollate import BucketedDataset, PaddingCollator, Ragged
    >>> dataset = BucketedDataset(Ragged.from_rows([[1], [2, 3]]), batch_size=2)
    >>> StreamDataMixin(dataset, PaddingCollator(0), val=dataset).num_workers
    0
    """

    trainer: Any = None

    def __init__(
        self,
        train: Given | None,
        collate_fn: Callable[[Any], Any],
        *,
        val: Given | None = None,
        test: Given | None = None,
        predict: Given | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.collate_fn = collate_fn
        self.num_workers = num_workers
        self._given = {"train": train, "val": val, "test": test, "predict": predict}
        self._loaders: list[StreamLoader] = []

    def train_dataloader(self) -> StreamLoader:
        """Return the loader of the training set, which goes on where the dataset is."""
        return self._loader("train")

    def val_dataloader(self) -> list[_Evaluation]:
        """Return the loader of the validation set; none if there is no such set, and none was asked for."""
        needed = self._given["val"] is not None or self.trainer.state.fn == "validate"
        return [_Evaluation(self._loader("val"))] if needed else []

    def test_dataloader(self) -> _Evaluation:
        """Return the loader of the test set."""
        return _Evaluation(self._loader("test"))

    def predict_dataloader(self) -> _Evaluation:
        """Return the loader of the set to predict."""
        return _Evaluation(self._loader("predict"))

    def teardown(self, stage: str) -> None:  # noqa: ARG002  # Lightning names the argument
        """End the threads and processes of all loaders."""
        while self._loaders:
            self._loaders.pop().close()

    def _loader(self, name: str) -> StreamLoader:
        given, device = self._given[name], self.trainer.strategy.root_device
        if given is None:
            raise PlanError(f"there is no {name} dataset: give {name}= to the data module")
        loader = StreamLoader(
            _of_rank(given, **self._ranks()), self.collate_fn, device=device, num_workers=self.num_workers
        )
        self._loaders.append(loader)
        return loader

    def _ranks(self) -> dict[str, int]:
        """Which share of the data is this process's, as the strategy divides it."""
        told = self.trainer.distributed_sampler_kwargs or {"rank": 0, "num_replicas": 1}
        return {"rank": told["rank"], "world_size": told["num_replicas"]}


class _Evaluation:
    """The batches of a loader's first epoch, in each pass anew."""

    def __init__(self, loader: StreamLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.loader.dataset.set_epoch(0)
        return iter(self.loader)


def _of_rank(given: Given, *, rank: int, world_size: int) -> PlannedDataset[Any]:
    """The dataset, which must be this rank's; all ranks must have the same plan."""
    dataset = given if isinstance(given, PlannedDataset) else given(rank=rank, world_size=world_size)
    if (dataset.rank, dataset.world_size) != (rank, world_size):
        raise PlanError(
            f"the dataset is rank {dataset.rank} of {dataset.world_size}, and the trainer's strategy says rank "
            f"{rank} of {world_size}: give a function, lambda **ranks: BucketedDataset(store, ..., **ranks)"
        )
    if world_size > 1 and torch.distributed.is_initialized():
        dataset.check_ranks()
    return dataset


@cache
def _module() -> type:
    base = framework("lightning.pytorch").LightningDataModule
    return type("StreamDataModule", (StreamDataMixin, base), {"__doc__": StreamDataMixin.__doc__})


def __getattr__(name: str) -> Any:
    if name == "StreamDataModule":
        return _module()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
