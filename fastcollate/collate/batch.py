from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import torch

from fastcollate.collate.packed_rows.zigzag import Chunked
from fastcollate.errors import CollateError
from fastcollate.ragged import Parcel, RaggedBatch, StepNumbers, Steps

__all__ = ["Batch", "with_steps"]

AnyBatch = TypeVar("AnyBatch")


class _Uncounted(NamedTuple):
    """What a batch will know of its step, once somebody asks."""

    steps: Steps
    collator: Any

    def found(self) -> StepNumbers:
        """Return it.

        Raises:
            StateError: A worker made the batch, and nobody counted there.
        """
        return self.steps.numbers(self.collator)[0]


class Batch(dict[str, Any]):
    """A `Batch` holds the tensors of one batch by name, so that `model(**batch)` works, and knows of them beside.

    A batch rebuilt from its items alone has record ids -1, and -1 for a count that is not known. What stands in
    for the tensors meanwhile (accelerate sends their shapes first) is not looked at.

    Args:
        tensors: The tensors by name, or pairs of both.
        record_ids: See the attribute; -1 for each row by default.
        num_tokens: See the attribute; counted by default, where a mask or document ids tell.
        num_supervised: See the attribute; -1 (unknown) by default.
        chunked: How `shard` splits the batch; by default it cannot be split.

    Attributes:
        record_ids: The place of each row, or of each document of packs, in its corpus, int64[B] on the CPU; -1
            marks a filler row.
        num_tokens: The number of real tokens, padding not counted.
        num_supervised: The number of targets that count in the loss. Aligned labels (`shift_labels=False`) are
            shifted by the model, which drops the first column: that column is not counted.
        loss_weight: What the counted targets weigh together, which is their number where each weighs 1. Where
            spans have weights the batch has `loss_weights`: float32 of the shape of `labels`, and 0 where there is
            no target. The sum of losses, each times its weight, is divided by it.
        padding_fraction: The part of the cells that is padding.
        chunked: How `shard` splits the batch; None where it cannot be split.
        micro: Which of its rank's batches of the same step it is, from 0; the step's last is `accumulate - 1`.
        step_num_tokens: The number of real tokens of the whole step, over all ranks and micro-batches.
        step_num_supervised: The number of targets that count in the loss of the whole step: a sum of losses
            divided by it, and added up over ranks and micro-batches, is the mean loss of one large batch. Every
            rank knows both before the first forward.
        step_loss_weight: What the counted targets of the whole step weigh together: what a sum of weighted losses
            is divided by.

    >>> batch = Batch({"input_ids": torch.zeros(2, 3, dtype=torch.int64)}, torch.arange(2), 4, 4)
    >>> batch["input_ids"].shape, batch.num_tokens, round(batch.padding_fraction, 2)
    (torch.Size([2, 3]), 4, 0.33)
    """

    def __init__(
        self,
        tensors: Mapping[str, Any] | Iterable[tuple[str, Any]],
        record_ids: torch.Tensor | None = None,
        num_tokens: int | None = None,
        num_supervised: int | None = None,
        *,
        chunked: Chunked | None = None,
    ) -> None:
        super().__init__(tensors)
        self._record_ids = record_ids
        self._num_tokens = num_tokens
        self.num_supervised = -1 if num_supervised is None else num_supervised
        self.chunked = chunked
        self._loss_weight: float | None = None  # None: each target weighs 1
        self.step: StepNumbers | _Uncounted | None = None  # None: one of its own

    def __repr__(self) -> str:
        held = ", ".join(f"{name}: {_shown(value)}" for name, value in self.items())
        return f"Batch({held}; {self.num_tokens} tokens, {self.num_supervised} supervised)"

    @property
    def record_ids(self) -> torch.Tensor:
        """The place of each row, or of each document of packs, in its corpus, int64[B]; -1 is a filler row."""
        if self._record_ids is None:  # of a batch made anew from its items: frameworks walk dicts
            self._record_ids = torch.full((_rows_of(self.get("input_ids")),), -1, device="cpu")
        return self._record_ids

    @record_ids.setter
    def record_ids(self, ids: torch.Tensor) -> None:
        self._record_ids = ids

    @property
    def num_tokens(self) -> int:
        """The number of real tokens; of a batch made anew from its items they are counted when it is asked for."""
        if self._num_tokens is None:
            self._num_tokens = self._count_tokens()
        return self._num_tokens

    @num_tokens.setter
    def num_tokens(self, count: int) -> None:
        self._num_tokens = count

    @property
    def loss_weight(self) -> float:
        """What the counted targets weigh together."""
        return float(self.num_supervised) if self._loss_weight is None else self._loss_weight

    @loss_weight.setter
    def loss_weight(self, weight: float) -> None:
        self._loss_weight = weight

    def _count_tokens(self) -> int:
        mask, documents = self.get("attention_mask"), self.get("document_ids")
        if isinstance(mask, torch.Tensor):
            return int(mask.sum())
        return int((documents >= 0).sum()) if isinstance(documents, torch.Tensor) else -1

    @property
    def micro(self) -> int:
        """Which of its rank's batches of the same step it is, from 0."""
        return 0 if (step := self._in_step()) is None else step.micro

    @property
    def step_num_tokens(self) -> int:
        """The number of real tokens of the whole step."""
        return self.num_tokens if (step := self._in_step()) is None else step.num_tokens

    @property
    def step_num_supervised(self) -> int:
        """The number of targets of the whole step that count in the loss."""
        return self.num_supervised if (step := self._in_step()) is None else step.num_supervised

    @property
    def step_loss_weight(self) -> float:
        """What the counted targets of the whole step weigh together."""
        return self.loss_weight if (step := self._in_step()) is None else step.loss_weight

    def _in_step(self) -> StepNumbers | None:
        """What the batch knows of its step, counted when it is first asked for."""
        if isinstance(self.step, _Uncounted):
            self.step = self.step.found()
        return self.step

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes what was counted, not what counts."""
        if isinstance(self.step, _Uncounted) and self.step.steps.whole is not None:
            self._in_step()
        return self.__dict__

    @property
    def padding_fraction(self) -> float:
        """The part of the cells that holds no token."""
        cells: int = self["input_ids"].numel()
        return 1.0 - self.num_tokens / cells if cells else 0.0

    def to(self, device: torch.device | str | int, *, non_blocking: bool = False) -> Self:
        """Return the same batch with its tensors on `device`; `record_ids` stay on the CPU."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the same batch in page-locked memory, from which copies to a CUDA device can be asynchronous."""
        return self.map_tensors(torch.Tensor.pin_memory)

    def clone(self) -> Self:
        """Return the same batch in memory of its own: the batches of a parcel share theirs."""
        copied = self.map_tensors(torch.Tensor.clone)
        copied.record_ids = self.record_ids.clone()
        return copied

    def shard(self, cp_rank: int, cp_size: int) -> Self:
        """Return the share of one rank of context parallelism: of each document chunks `i` and `2 * cp - 1 - i`.

        The ranks of a context-parallel group have the same batch: give the dataset the rank and world size of
        the data-parallel dimension, `**from_mesh(mesh["dp"])`.

        What has a value for each cell is copied once, int64[1, T / cp_size]; `cu_seqlens` and all else stay those
        of the whole batch. `shift_labels` are the next tokens, which a model cannot shift to across chunks, and
        `shift_loss_weights` what they weigh: their loss is added up over the ranks and divided by the whole
        batch's `num_supervised`, or `loss_weight`. Those of a share are -1 and NaN (unknown) where its labels do
        not lie on the CPU.

        Args:
            cp_rank: Which rank of its context-parallel group this is, from 0.
            cp_size: The ranks of the group.

        Raises:
            CollateError: The collator padded no documents, or not to a multiple of `2 * cp_size`.

        >>> from fastcollate import PackingCollator
        >>> batch = PackingCollator(0, layout="flat", multiple_of=4)([[1, 2, 3, 4], [5, 6, 7]])
        >>> batch.shard(0, 2)["input_ids"], batch.shard(1, 2)["shift_labels"]
        (tensor([[1, 4, 5, 0]]), tensor([[   3,    4,    7, -100]]))
        """
        if self.chunked is None:
            raise CollateError(
                f"the documents of the batch are not padded to chunks: collate with a PackingCollator "
                f"with multiple_of={2 * cp_size!r}, and split what it returns"
            )
        rank, size = self.chunked.check(cp_rank, cp_size)
        inputs, part, held = self["input_ids"], self.map_tensors(lambda tensor: tensor), dict(self)
        named: list[str] = [name for name in ("labels", "loss_weights") if name in held]
        for name in named:
            held[f"shift_{name}"] = self[name].reshape(-1).roll(-1).view_as(inputs)  # a document begins ignored
        cells = self.chunked.cells(rank, size, inputs.device)
        for name, value in held.items():
            if isinstance(value, torch.Tensor) and value.shape == inputs.shape:
                part[name] = value.reshape(-1)[cells].view(len(inputs), -1)
        part.num_tokens, part.num_supervised, part.chunked = self.chunked.num_tokens(rank, size), -1, None
        if "labels" in self and inputs.device.type == "cpu":
            part.num_supervised = int((part["shift_labels"] != self["labels"].reshape(-1)[0]).sum())
        if "loss_weights" in self:
            part.loss_weight = float(part["shift_loss_weights"].sum()) if inputs.device.type == "cpu" else math.nan
        return part

    def map_tensors(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """Return the same batch with `function` applied to each tensor."""
        mapped = type(self).__new__(type(self))
        mapped.__dict__.update(self.__dict__)
        mapped.update({k: function(v) if isinstance(v, torch.Tensor) else v for k, v in self.items()})
        return mapped


def _rows_of(value: Any) -> int:
    return len(value) if isinstance(value, torch.Tensor) else 0


def with_steps(batches: Sequence[AnyBatch], rows: Any, collator: Any) -> list[AnyBatch]:
    """Return batches that know the steps which the rows they were made of belong to, as `collator` counts them.

    What is no `Batch`, or made of rows without steps, is returned as it is.
    """
    steps = rows.steps if isinstance(rows, Parcel | RaggedBatch) else rows
    if not isinstance(steps, Steps) or not any(isinstance(batch, Batch) for batch in batches):
        return list(batches)
    for number, batch in enumerate(batches):
        if isinstance(batch, Batch):
            batch.step = _Uncounted(steps.part(number, number + 1), collator)
    return list(batches)


def _shown(value: Any) -> str:
    """A tensor as its dtype and shape, anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return f"{str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
