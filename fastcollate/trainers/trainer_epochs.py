"""What Trainer of transformers iterates over: equal epochs of a stream, and their position in its checkpoints."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat
from typing import Any

from torch.utils.data import IterableDataset

from fastcollate.errors import InputError, StateError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.framework import framework

__all__ = ["TrainerEpochs", "position_keeper"]


class TrainerEpochs(IterableDataset[Any]):
    """`TrainerEpochs` deliver a stream in epochs of one length, which is what Trainer counts with.

    accelerate's `skip_first_batches`, which Trainer calls when it resumes, reads this as a data set of batches and
    drops the first of them: None stands for each that was delivered before, so that nothing is made to be dropped.

    Args:
        loader: The stream.
        epochs: The epochs that Trainer counts, so that their mean length is that of the dataset's; 1 or more.

    Attributes:
        loader: The stream.
    """

    drop_last, batch_size, num_workers, prefetch_factor = (
        False,
        None,
        0,
        None,
    )  # which `skip_first_batches` asks for

    def __init__(self, loader: StreamLoader, *, epochs: float) -> None:
        self.loader = loader
        self._skipped = 0
        self._batches = _mean_batches(loader, math.ceil(epochs))

    @property
    def dataset(self) -> TrainerEpochs:
        """What `skip_first_batches` reads anew: this."""
        return self

    @staticmethod
    def collate_fn(batch: Any) -> Any:
        """Return a batch as it is."""
        return batch

    def __len__(self) -> int:
        """Return the batches of one of Trainer's epochs on this rank."""
        return self._batches

    def __iter__(self) -> Iterator[Any]:
        """Yield what Trainer skips as None, and the batches that come next in the stream."""
        skipped, self._skipped = self._skipped, 0
        yield from repeat(None, skipped)
        wanted = self._batches - skipped
        while wanted > 0:
            for batch in self.loader:  # an epoch of the dataset, or what is left of it
                yield batch
                wanted -= 1
                if not wanted:
                    return

    def state(self) -> dict[str, Any]:
        """Return how far the stream is, as JSON."""
        return {"stream": self.loader.state_dict(), "batches": self._batches}

    def begin(self, saved: dict[str, Any] | None, *, step: int, accumulation: int) -> None:
        """Begin at epoch 0, or where a checkpoint was written.

        Args:
            saved: What `state` returned then; None where the checkpoint has nothing.
            step: The updates that Trainer has made.
            accumulation: The batches of an update.

        Raises:
            StateError: A checkpoint without a position.
            StateMismatchError: It has another plan, arguments or corpus.
        """
        if step == 0:
            self.loader.dataset.set_epoch(0)
            return
        if saved is None:
            raise StateError(
                f"the checkpoint of step {step} has no position in the data: it was not written by a Trainer with "
                "StreamMixin; resume from one that was, or give its weights to a new Trainer"
            )
        self.loader.load_state_dict(saved["stream"])
        self._skipped = step % -(-self._batches // accumulation) * accumulation
        if saved["batches"] != self._batches:
            warnings.warn(
                f"an epoch had {saved['batches']} batches where the checkpoint was written, and has "
                f"{self._batches} now: the stream goes on exactly there, and Trainer counts the epochs that are "
                "left in its own steps",
                stacklevel=2,
            )


@lru_cache(maxsize=1)
def position_keeper() -> type[Any]:
    """Return the class of callbacks by which Trainer keeps a position in `trainer_state.json`."""
    callbacks = framework("transformers.trainer_callback")
    train_callback: Any = callbacks.TrainerCallback
    exportable: Any = callbacks.ExportableState

    class StreamPosition(train_callback, exportable):
        epochs: TrainerEpochs | None = None

        def state(self) -> dict[str, Any]:
            position = None if self.epochs is None else self.epochs.state()
            return {"args": {}, "attributes": {"position": position}}

        def on_train_begin(
            self, args: Any, state: Any, control: Any, *, train_dataloader: Any = None, **_: Any
        ) -> None:
            del control
            self.epochs = train_dataloader if isinstance(train_dataloader, TrainerEpochs) else None
            if self.epochs is None:
                return
            if state.global_step and args.ignore_data_skip:
                raise InputError("ignore_data_skip=True: leave it out, nothing is made to be skipped")
            kept = state.stateful_callbacks.get(type(self).__name__, {})
            saved = kept.get("attributes", {}).get("position")
            self.epochs.begin(saved, step=state.global_step, accumulation=args.gradient_accumulation_steps)

    return StreamPosition


def _mean_batches(loader: StreamLoader, epochs: int) -> int:
    """The batches of an epoch, rounded up where epochs differ."""
    dataset, counts = copy.copy(loader.dataset), []
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        counts.append(len(dataset))
    steps = dataset.accumulate  # of which a mean epoch has whole ones
    mean = -(-sum(counts) // (epochs * steps)) * steps
    if len(set(counts)) > 1:
        warnings.warn(
            f"the epochs of this dataset have {min(counts)} to {max(counts)} batches; Trainer counts {mean} in "
            f"each: training takes all of {epochs} epochs and {mean * epochs - sum(counts)} batches of the next",
            stacklevel=2,
        )
    return mean
