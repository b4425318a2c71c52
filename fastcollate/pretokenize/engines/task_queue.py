"""Tasks on their way to those who work on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

__all__ = ["TaskQueue"]


class TaskQueue:
    """Tasks by number, of which few are begun and not over.

    Attributes:
        closed: True once no further task can be read.
        stopped: True once no further task shall begin.
        taken: How many tasks were begun.
        error: What kept the next task from being read; the tasks before it are done first.
    """

    def __init__(self, tasks: Iterable[Any], most: int) -> None:
        self.closed = self.stopped = False
        self.error: Exception | None = None
        self._tasks = iter(tasks)
        self.taken = 0
        self._ahead: deque[Any] = deque()
        self._most = most
        self._open: set[int] = set()
        self._failed: dict[int, BaseException] = {}

    def left(self, most: int) -> int:
        """Return how many tasks are left, up to `most`."""
        try:
            while len(self._ahead) < most and not self.closed:
                self._ahead.append(next(self._tasks))
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001  # whatever reading the source raises
            self.closed, self.error = True, error
        return len(self._ahead)

    def take(self) -> tuple[int, Any] | None:
        """Return the next task and its number; None if there is none, or an open one is too far back."""
        oldest = min(self._open, default=self.taken)
        if self.stopped or self.taken >= oldest + self._most or not self.left(1):
            return None
        self._open.add(self.taken)
        self.taken += 1
        return self.taken - 1, self._ahead.popleft()

    def over(self, number: int, error: BaseException | None = None) -> None:
        """A task is done, or has failed by `error`: then no other begins.

        Raises:
            BaseException: The error of the first task that failed, once no task before it is open.
        """
        self._open.remove(number)
        if error is not None:
            self._failed[number] = error
            self.stopped = True
        first = min(self._failed, default=None)
        if first is not None and not any(task < first for task in self._open):
            raise self._failed[first]
