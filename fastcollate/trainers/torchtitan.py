"""torchtitan: a loader of the shape of its `BaseDataLoader`, without importing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from fastcollate.errors import CollateError, StateError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.given import Evaluation, Given, of_rank

__all__ = ["TitanLoader"]

_NAMES = {"input_ids": "input", "position_ids": "positions"}  # of what its models take
_WANTED = "give a PackingCollator, whose layout is rows, or a PaddingCollator, with labels and without as_tuple"


class TitanLoader:
    """A `TitanLoader` gives `({"input": ..., "positions": ...}, labels)`, int64[B, T] each, and has a state.

    torchtitan makes its loader of a `Config`: derive from both, and name the `Config` in the trainer's.

        class FastCollateLoader(TitanLoader, BaseDataLoader):
            @dataclass(kw_only=True, slots=True)
            class Config(BaseDataLoader.Config): ...

            def __init__(self, config, *, dp_rank, dp_world_size, tokenizer, seq_len, local_batch_size, **_):
                store = TokenStore(config.dataset_path)
                packs = partial(PackedDataset, store, length=seq_len, batch_size=local_batch_size)
                super().__init__(packs, PackingCollator(0), dp_rank=dp_rank, dp_world_size=dp_world_size)

    Labels are the next tokens, as its losses expect: those of a `PackingCollator`, or of a `PaddingCollator` with
    `shift_labels=False`, are shifted here. `positions` begin again at each document, which is what its masked
    attention tells documents by. The state goes through `torch.distributed.checkpoint`; it is the same on every
    rank, and a run goes on with another `dp_world_size`.

    Args:
        given: A dataset, or a function that makes it of `rank=` and `world_size=`.
        collate_fn: A `PackingCollator` with `layout="rows"`, or a `PaddingCollator`.
        dp_rank: The rank in data parallelism: processes that share a model have the same.
        dp_world_size: The number of such ranks.
        infinite: Whether one iteration delivers epoch after epoch, each in its own order, as torchtitan's training
            wants; with False it is one epoch, and always the first one, as its validation wants.
        num_workers: The number of processes that read; 0 by default.

    Raises:
        CollateError: The collator's batches are one flat row.
        PlanError: The dataset is another rank's.
        StateMismatchError: The ranks have different data, arguments or positions.

    >>> from functools import partial
    >>> from fastcollate import PackedDataset, PackingCollator, Ragged
    >>> packs = partial(PackedDataset, Ragged.from_rows([[5, 6, 7], [8, 9]]), length=5, shuffle=False)
    >>> inputs, labels = next(iter(TitanLoader(packs, PackingCollator(0), dp_rank=0, dp_world_size=1)))
    >>> inputs["input"], inputs["positions"], labels
    (tensor([[5, 6, 7, 8, 9]]), tensor([[0, 1, 2, 0, 1]]), tensor([[   6,    7, -100,    9, -100]]))
    """

    def __init__(
        self,
        given: Given,
        collate_fn: Callable[[Any], Any],
        *,
        dp_rank: int,
        dp_world_size: int,
        infinite: bool = True,
        num_workers: int = 0,
    ) -> None:
        if getattr(collate_fn, "layout", "rows") != "rows":
            raise CollateError(f"torchtitan's batches are rows: {_WANTED}")
        dataset = of_rank(given, rank=dp_rank, world_size=dp_world_size, told_by="torchtitan")
        self.loader = StreamLoader(dataset, collate_fn, num_workers=num_workers)
        self._first_epoch = None if infinite else Evaluation(self.loader)
        self._shift = not getattr(collate_fn, "shift_labels", False)
        self._ignore_index = -100 if (ignored := getattr(collate_fn, "ignore_index", None)) is None else ignored

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """Yield what is left of the epoch, and then those that follow.

        Raises:
            CollateError: The collator's batches have no `input_ids` and `labels`, or have weights.
        """
        if self._first_epoch is not None:
            yield from map(self._titan, self._first_epoch)
            return
        while True:
            yield from map(self._titan, self.loader)

    def state_dict(self) -> dict[str, Any]:
        """Return how much was delivered, as JSON: the same on every rank, valid for any number of ranks."""
        return self.loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            StateError: It is empty, or no state of this library.
            StateMismatchError: It was taken over other data, arguments or seed.
        """
        if not state_dict:
            raise StateError("the state of the loader is empty: it was saved by another loader, or by none")
        self.loader.load_state_dict(state_dict)

    def _titan(self, batch: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        if not isinstance(batch, dict) or not {"input_ids", "labels"} <= batch.keys():
            raise CollateError(f"torchtitan's batches have input_ids and labels: {_WANTED}")
        if "loss_weights" in batch:
            raise CollateError("the records have weights, and torchtitan's loss knows none: prepare them without")
        labels = batch["labels"]
        if self._shift:
            last = labels.new_full((len(labels), 1), self._ignore_index)
            labels = torch.cat([labels[:, 1:], last], dim=1)
        return {theirs: batch[ours] for ours, theirs in _NAMES.items() if ours in batch}, labels
