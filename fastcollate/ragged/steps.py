"""Which step of the optimizer batches belong to, and what that step holds over all ranks and micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastcollate.errors import StateError
from fastcollate.ragged.ragged import IntArray

__all__ = ["StepNumbers", "Steps", "WholeSteps"]


class StepNumbers(NamedTuple):
    """What a batch knows of its step.

    Attributes:
        micro: Which of its rank's batches of the step it is, from 0.
        num_tokens: The real tokens of all batches of the step.
        num_supervised: The targets of all batches of the step.
    """

    micro: int
    num_tokens: int
    num_supervised: int


class Counts(Protocol):
    """A collator that says, without making a batch, what its batches would have."""

    def count(self, parcel: Any, /) -> tuple[IntArray, IntArray]:
        """Return the real tokens and the targets of each batch of a parcel: int64[C] both."""
        ...


class WholeSteps:
    """The batches of some steps over all ranks, which are found when a collator is to count them.

    Args:
        find: Returns parcels of all batches of the steps, in order, with the columns that a collator asks for.
        size: The batches of a step.
    """

    def __init__(self, find: Callable[[Any], Iterable[Any]], size: int) -> None:
        self._find, self._size = find, size
        self._last: tuple[Any, list[list[int]]] | None = None

    def counts(self, collator: Counts) -> list[list[int]]:
        """Return the tokens of each step, and the targets of each; the latest collator's are kept."""
        if self._last is None or self._last[0] is not collator:
            parts = [np.stack(collator.count(parcel)) for parcel in self._find(collator)]
            each = np.concatenate(parts, axis=1)
            self._last = collator, each.reshape(2, -1, self._size).sum(axis=2).tolist()
        return self._last[1]


class Steps(NamedTuple):
    """`Steps` say of some batches which step each belongs to.

    Attributes:
        micro: Which of its rank's batches of the step each is, int64[C].
        home: The number of each batch's step, int64[C].
        whole: The batches of these steps over all ranks; None where `known` says all there is to say.
        known: The tokens of each step, and the targets of each, once they are counted.
    """

    micro: IntArray
    home: IntArray
    whole: WholeSteps | None
    known: list[list[int]] | None = None

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
                "them time: read with num_workers=0 to ask for step_num_tokens or step_num_supervised"
            )
        tokens, targets = known
        places = zip(self.micro.tolist(), self.home.tolist(), strict=True)
        return [StepNumbers(micro, tokens[home], targets[home]) for micro, home in places]
