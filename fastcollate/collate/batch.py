from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import torch

from fastcollate.ragged import Parcel, RaggedBatch, StepNumbers, Steps

__all__ = ["Batch", "with_steps"]

AnyBatch = TypeVar("AnyBatch")


class Batch(dict[str, Any]):
    """A `Batch` holds the tensors of one batch by name, so that `model(**batch)` works, and knows of them beside.

    A batch rebuilt from its items alone has record ids -1, and -1 for a count that is not known.

    Args:
        tensors: The tensors by name, or pairs of both.
        record_ids: See the attribute; -1 for each row by default.
        num_tokens: See the attribute; counted by default, where a mask or document ids tell.
        num_supervised: See the attribute; -1 (unknown) by default.

    Attributes:
        record_ids: The place of each row, or of each document of packs, in its corpus, int64[B] on the CPU; -1
            marks a filler row.
        num_tokens: The number of real tokens, padding not counted.
        num_supervised: The number of targets that count in the loss. Aligned labels (`shift_labels=False`) are
            shifted by the model, which drops the first column: that column is not counted.
        padding_fraction: The part of the cells that is padding.
        micro: Which of its rank's batches of the same step it is, from 0; the step's last is `accumulate - 1`.
        step_num_tokens: The number of real tokens of the whole step, over all ranks and micro-batches.
        step_num_supervised: The number of targets that count in the loss of the whole step: a sum of losses
            divided by it, and added up over ranks and micro-batches, is the mean loss of one large batch. Every
            rank knows both before the first forward.

    >>> batch = Batch({"input_ids": torch.zeros(2, 3, dtype=torch.int64)}, torch.arange(2), 4, 4)
    >>> batch["input_ids"].shape, batch.num_tokens, round(batch.padding_fraction, 2)
    (torch.Size([2, 3]), 4, 0.33)
    """

    record_ids: torch.Tensor
    num_tokens: int
    num_supervised: int

    def __init__(
        self,
        tensors: Mapping[str, Any] | Iterable[tuple[str, Any]],
        record_ids: torch.Tensor | None = None,
        num_tokens: int | None = None,
        num_supervised: int | None = None,
    ) -> None:
        super().__init__(tensors)
        self.record_ids = self._unknown_ids() if record_ids is None else record_ids
        self.num_tokens = self._count_tokens() if num_tokens is None else num_tokens
        self.num_supervised = -1 if num_supervised is None else num_supervised
        self.step: StepNumbers | Callable[[], StepNumbers] | None = None  # None: one of its own

    def __repr__(self) -> str:
        held = ", ".join(f"{name}: {_shown(value)}" for name, value in self.items())
        return f"Batch({held}; {self.num_tokens} tokens, {self.num_supervised} supervised)"

    def _unknown_ids(self) -> torch.Tensor:
        return torch.full((len(self["input_ids"]) if "input_ids" in self else 0,), -1, device="cpu")

    def _count_tokens(self) -> int:
        """Of a batch that torch put together again from its items (it walks dicts, and knows no attributes)."""
        if "attention_mask" in self:
            return int(self["attention_mask"].sum())
        documents = self.get("document_ids")
        return -1 if documents is None else int((documents >= 0).sum())

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

    def _in_step(self) -> StepNumbers | None:
        """What the batch knows of its step, counted when it is first asked for."""
        if callable(self.step):
            self.step = self.step()
        return self.step

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes what was counted, not what counts."""
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

    def map_tensors(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """Return the same batch with `function` applied to each tensor."""
        mapped = type(self).__new__(type(self))
        mapped.__dict__.update(self.__dict__)
        mapped.update({k: function(v) if isinstance(v, torch.Tensor) else v for k, v in self.items()})
        return mapped


def with_steps(batches: Sequence[AnyBatch], rows: Any, collator: Any) -> list[AnyBatch]:
    """Return batches that know the steps which the rows they were made of belong to, as `collator` counts them.

    What is no `Batch`, or made of rows without steps, is returned as it is.
    """
    steps = rows.steps if isinstance(rows, Parcel | RaggedBatch) else rows
    if not isinstance(steps, Steps) or not any(isinstance(batch, Batch) for batch in batches):
        return list(batches)
    for number, batch in enumerate(batches):
        if isinstance(batch, Batch):
            batch.step = partial(_numbers_of, steps, number, collator)
    return list(batches)


def _numbers_of(steps: Steps, number: int, collator: Any) -> StepNumbers:
    return steps.part(number, number + 1).numbers(collator)[0]


def _shown(value: Any) -> str:
    """A tensor as its dtype and shape, anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return f"{str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
