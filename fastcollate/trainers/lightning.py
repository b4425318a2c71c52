"""Lightning: a data module whose datasets know their rank, and whose state is in the trainer's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastcollate.errors import PlanError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.framework import framework
from fastcollate.trainers.given import Evaluation, Given, of_rank

__all__ = ["StreamDataMixin"]  # and StreamDataModule, which is made when it is asked for


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

    def train_dataloader(self) -> StreamLoader | Evaluation:
        """Return the loader of the training set, which goes on where the dataset is.

        With `Trainer(overfit_batches=...)` each epoch has the same first batches.
        """
        if self.trainer is not None and self.trainer.overfit_batches:
            return self._evaluation("train")
        loader = self._loader("train")
        self._loaders.append(loader)
        return loader

    def val_dataloader(self) -> list[Evaluation]:
        """Return the loader of the validation set; none if there is no such set, and none was asked for."""
        asked = self.trainer is not None and self.trainer.state.fn == "validate"
        needed = self._given["val"] is not None or asked
        return [self._evaluation("val")] if needed else []

    def test_dataloader(self) -> Evaluation:
        """Return the loader of the test set."""
        return self._evaluation("test")

    def predict_dataloader(self) -> Evaluation:
        """Return the loader of the set to predict."""
        return self._evaluation("predict")

    def teardown(self, stage: str) -> None:  # noqa: ARG002  # Lightning names the argument
        """End the threads and processes of all loaders."""
        while self._loaders:
            self._loaders.pop().close()

    def _loader(self, name: str) -> StreamLoader:
        given, device, told = self._given[name], "cpu", None
        if given is None:
            raise PlanError(f"there is no {name} dataset: give {name}= to the data module")
        if self.trainer is not None:  # whoever looks at a batch by hand has none
            device, told = self.trainer.strategy.root_device, self.trainer.distributed_sampler_kwargs
        told = told or {"rank": 0, "num_replicas": 1}
        dataset = of_rank(
            given, rank=told["rank"], world_size=told["num_replicas"], told_by="the trainer's strategy"
        )
        return StreamLoader(dataset, self.collate_fn, device=device, num_workers=self.num_workers)

    def _evaluation(self, name: str) -> Evaluation:
        evaluation = Evaluation(self._loader(name))
        self._loaders.append(evaluation.loader)
        return evaluation


@cache
def _module() -> type:
    base = framework("lightning.pytorch").LightningDataModule
    return type("StreamDataModule", (StreamDataMixin, base), {"__doc__": StreamDataMixin.__doc__})


def __getattr__(name: str) -> Any:
    if name == "StreamDataModule":
        return _module()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
