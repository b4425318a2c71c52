"""Where the windows of an epoch begin, each counted once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["START", "Landmark", "Landmarks"]


class Landmark(NamedTuple):
    """A `Landmark` says where a window begins: its number, its first global batch, its first token.

    Tokens are counted only where documents are joined. Where lengths decide how many batches a window has, one
    landmark saves counting all windows before it.
    """

    window: int = 0
    batch: int = 0
    token: int = 0


START = Landmark()


class Landmarks:
    """`Landmarks` count where the windows of one epoch begin, each window once.

    Two threads may count at the same time: whoever adds a landmark adds the same.

    Args:
        num_windows: How many windows the epoch has; the beginning of window `num_windows` is the epoch's end.
        known: A landmark to count from; the beginning of window 0 always is one.
        next_after: Where the window after a landmark's begins; it costs what planning a window costs.
    """

    def __init__(self, num_windows: int, *, known: Landmark, next_after: Callable[[Landmark], Landmark]) -> None:
        self._num_windows = num_windows
        self._known = {0: START, known.window: known}
        self._next_after = next_after

    def __contains__(self, window: int) -> bool:
        """Whether nothing need be counted to tell where `window` begins."""
        return window in self._known

    def add(self, landmark: Landmark) -> Landmark:
        """Return the landmark of that window: this one, unless another was known."""
        return self._known.setdefault(landmark.window, landmark)

    def of(self, window: int) -> Landmark:
        """Return where `window` begins, counted from the nearest landmark before it."""
        here = self._known[next(number for number in range(window, -1, -1) if number in self._known)]
        while here.window < window:
            here = self._after(here)
        return here

    def before(self, batch: int) -> Landmark:
        """Return the last landmark before global batch `batch`, or window 0's, counted from the nearest one."""
        numbers = sorted(self._known)
        nearest = bisect_left(numbers, batch, key=lambda window: self._known[window].batch)
        here = self._known[numbers[max(0, nearest - 1)]]
        while batch and here.window < self._num_windows and (after := self._after(here)).batch < batch:
            here = after
        return here

    def _after(self, here: Landmark) -> Landmark:
        if here.window + 1 not in self._known:
            self._known[here.window + 1] = self._next_after(here)
        return self._known[here.window + 1]
