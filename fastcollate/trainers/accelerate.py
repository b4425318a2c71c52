"""The door to Hugging Face accelerate: a `StreamLoader` that its `Accelerator` knows."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import torch

from fastcollate.dataset.planned import PlannedDataset
from fastcollate.errors import InputError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.framework import compare_ranks, framework
from fastcollate.trainers.given import Evaluation

__all__ = ["PreparedLoader", "prepare_loader"]


def prepare_loader(accelerator: Any, loader: StreamLoader, *, evaluation: bool = False) -> PreparedLoader:
    """Return a loader that an `Accelerator` works with as with a prepared one; every process must call it.

    `accelerator.save_state` then saves how far it is, and `accelerator.load_state` makes it go on there: nothing
    is skipped. `accelerator.accumulate` steps at the end of an epoch, as with accelerate's own loaders.

    Args:
        accelerator: The `Accelerator`.
        loader: The loader, made with `device=accelerator.device`. Its dataset finds the ranks by itself.
        evaluation: Whether this is an evaluation set: then every pass is epoch 0, in one order, and no state is
            saved. False by default.

    Raises:
        InputError: accelerate is not installed, or the loader is another kind of loader or on another device.
        StateMismatchError: A rank has another plan, position or corpus.
    """
    framework("accelerate")
    if not isinstance(loader, StreamLoader):
        raise InputError(
            f"prepare_loader got a {type(loader).__name__}: give it "
            "StreamLoader(dataset, collate_fn, device=accelerator.device)"
        )
    if loader.device.type != torch.device(accelerator.device).type:
        raise InputError(
            f"the loader delivers to {loader.device} and the accelerator works on {accelerator.device}: make it "
            "with device=accelerator.device"
        )
    compare_ranks(loader.dataset)
    prepared = PreparedLoader(loader, accelerator.gradient_state, evaluation=evaluation)
    if not evaluation:
        accelerator.register_for_checkpointing(prepared)
    return prepared


class PreparedLoader:
    """A `PreparedLoader` delivers what a `StreamLoader` does, and tells accelerate which batch is an epoch's last.

    Args:
        loader: The loader.
        gradient_state: What accelerate is told by: `accelerator.gradient_state`.
        evaluation: Whether every pass is epoch 0, from its start, whatever else reads the dataset.

    Attributes:
        loader: The loader, or the copy of it that evaluation reads.
    """

    def __init__(self, loader: StreamLoader, gradient_state: Any, *, evaluation: bool = False) -> None:
        self.loader: StreamLoader = loader
        self._passes: StreamLoader | Evaluation = loader
        if evaluation:
            self._passes = Evaluation(loader)
            self.loader = self._passes.loader
        self._gradient_state = gradient_state

    def __repr__(self) -> str:
        return f"PreparedLoader({self.loader!r})"

    def __len__(self) -> int:
        """Return the batches of a whole epoch on this rank."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the current epoch that are left, or of the next one."""
        told = framework("accelerate.data_loader").DataLoaderStateMixin()
        told.gradient_state = self._gradient_state
        told.begin()
        try:
            for batch in self._passes:  # after the last batch the dataset is at the next epoch
                told.end_of_dataloader = self.loader.dataset.epoch != self.loader.epoch
                yield batch
        finally:
            told.end()

    @property
    def dataset(self) -> PlannedDataset[Any]:
        """The dataset of the loader."""
        return self.loader.dataset

    @property
    def epoch(self) -> int:
        """The epoch being delivered, or the next one between two."""
        return self.loader.epoch

    def state_dict(self) -> dict[str, Any]:
        """Return how much was delivered, as JSON: the same on every rank, valid for any world size."""
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; see `StreamLoader.load_state_dict`."""
        self.loader.load_state_dict(state)

    def close(self) -> None:
        """End the thread and the processes of the loader, if any."""
        self.loader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
