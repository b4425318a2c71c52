"""Which step of the optimizer batches belong to, and what that step holds over all ranks and micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StateError
from fastcollate.ragged.ragged import IntArray

__all__ = ["Counted", "StepNumbers", "Steps", "WholeSteps"]

Known = tuple[list[int], list[int], list[float]]


class StepNumbers(NamedTuple):
    """What a batch knows of its step.

    Attributes:
        micro: Which of its rank's batches of the step it is, from 0.
        num_tokens: The real tokens of all batches of the step.
        num_supervised: The targets of all batches of the step.
        loss_weight: What these weigh together.
    """

    micro: int
    num_tokens: int
    num_supervised: int
    loss_weight: float


class Counted(NamedTuple):
    """What batches have; letter: C, their number.

    Attributes:
        num_tokens: The real tokens of each, int64[C].
        num_supervised: The targets of each, int64[C].
        loss_weight: What its targets weigh together, float64[C]; None where each weighs 1.
    """

    num_tokens: IntArray
    num_supervised: IntArray
    loss_weight: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, num_tokens: IntArray, num_supervised: list[int], loss_weight: list[float] | None) -> Self:
        """Return what was counted; see the attributes."""
        return cls(num_tokens, np.array(num_supervised), None if loss_weight is None else np.array(loss_weight))

    @property
    def weights(self) -> NDArray[Any]:
        """What the targets of each batch weigh, in any case."""
        return self.num_supervised if self.loss_weight is None else self.loss_weight

    @classmethod
    def joined(cls, parts: Sequence[Counted]) -> Self:
        """Return what the batches of several parts have, one after another."""
        tokens = np.concatenate([part.num_tokens for part in parts])
        targets = np.concatenate([part.num_supervised for part in parts])
        known = any(part.loss_weight is not None for part in parts)
        return cls(tokens, targets, np.concatenate([part.weights for part in parts]) if known else None)


class Counts(Protocol):
    """A collator that says, without making a batch, what its batches would have."""

    def count(self, parcel: Any, /) -> Counted:
        """Return what each batch of a parcel would have."""
        ...


class WholeSteps:
    """The batches of some steps over all ranks, which are found when a collator is to count them.

    Args:
        find: Returns parcels of all batches of the steps, in order, with the columns that a collator asks for.
        size: The batches of a step.
    """

    def __init__(self, find: Callable[[Any], Iterable[Any]], size: int) -> None:
        self._find, self._size = find, size
        self._last: tuple[Any, Known] | None = None

    def counts(self, collator: Counts) -> Known:
        """Return the tokens of each step, its targets, and what these weigh; the latest collator's are kept."""
        if self._last is None or self._last[0] is not collator:
            each = Counted.joined([collator.count(parcel) for parcel in self._find(collator)])
            sums = (of_batch.reshape(-1, self._size).sum(axis=1) for of_batch in (*each[:2], each.weights))
            tokens, targets, weights = (of_step.tolist() for of_step in sums)
            self._last = collator, (tokens, targets, weights)
        return self._last[1]


class Steps(NamedTuple):
    """`Steps` say of some batches which step each belongs to.

    Attributes:
        micro: Which of its rank's batches of the step each is, int64[C].
        home: The number of each batch's step, int64[C].
        whole: The batches of these steps over all ranks; None where `known` says all there is to say.
        known: The tokens of each step, its targets, and what these weigh, once they are counted.
    """

    micro: IntArray
    home: IntArray
    whole: WholeSteps | None
    known: Known | None = None

    def part(self, first: int, last: int) -> Steps:
        """Return those of the batches from `first` to `last`."""
        return self._replace(micro=self.micro[first:last], home=self.home[first:last])

    def counted(self, collator: Counts) -> Steps:
        """Return the same with their numbers, which can go to another process."""
        if self.whole is None:
            return self
        return self._replace(whole=None, known=self.whole.counts(collator))

    def uncounted(self) -> Steps:
        """Return the same for another process, where nobody can count them."""
        return self._replace(whole=None)

    def numbers(self, collator: Counts) -> list[StepNumbers]:
        """Return what each batch knows of its step.

        Raises:
            StateError: Nobody counted them where the batches were made, and nobody can here.
        """
        known = self.known if self.whole is None else self.whole.counts(collator)
        if known is None:
            raise StateError(
                "workers do not count what a step of several ranks holds where accumulate is 1, since it costs "
                "them time: read with num_workers=0 to ask for what a step has"
            )
        tokens, targets, weights = known
        places = zip(self.micro.tolist(), self.home.tolist(), strict=True)
        return [StepNumbers(micro, tokens[home], targets[home], float(weights[home])) for micro, home in places]
