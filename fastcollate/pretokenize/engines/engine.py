"""What runs tasks, and the engine that needs no other process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

__all__ = ["Engine", "ThisProcess", "Work", "in_order"]

Work = Callable[[Any], Iterable[Any]]
"""What is done with a task: it gives items, as they are made."""


class Engine(Protocol):
    """What runs tasks."""

    def run(self, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yield each item that `work` makes of a task, and before it the number of the task, counted from 0.

        Items of one task come in order, those of different tasks as they are made; few tasks are read ahead. Of
        several tasks that fail the first raises its error, once the tasks before it are done.
        """
        ...


class ThisProcess:
    """The engine that starts no process.

    >>> list(ThisProcess().run(lambda task: [task, -task], [1, 2]))
    [(0, 1), (0, -1), (1, 2), (1, -2)]
    """

    def run(self, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what `work` makes of each task, made when it is asked for."""
        for number, task in enumerate(tasks):
            for item in work(task):
                yield number, item


def in_order(items: Iterable[tuple[int, Any]]) -> Iterator[Any]:
    """Yield the items of tasks that give one each, in the order of the tasks.

    >>> list(in_order([(1, "b"), (0, "a"), (2, "c")]))
    ['a', 'b', 'c']
    """
    early: dict[int, Any] = {}
    due = 0
    for number, item in items:
        early[number] = item
        while due in early:
            yield early.pop(due)
            due += 1
