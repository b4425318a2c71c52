"""Worker processes of this machine, which run nothing of the caller's program."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from fastcollate.pretokenize.engines.engine import Work
from fastcollate.pretokenize.engines.task_queue import TaskQueue
from fastcollate.pretokenize.engines.worker import FAILED, ITEM, OVER
from fastcollate.pretokenize.engines.worker_line import WorkerLine

__all__ = ["Processes"]


@dataclass(frozen=True, slots=True)
class Processes:
    """The engine that deals tasks to worker processes, each to one that has fewest.

    The workers run nothing of the caller's program, so what is sent to them must be defined in modules that they
    can import. Each has a line of its own, so that none can block another's, and ends with this process, however
    this process ends.

    Args:
        workers: The number of processes that work.
        timeout: The seconds to wait for a sign of a worker before it is taken for stuck.
        alone: The seconds that this process works before it starts others, and then goes on as one of the workers.
            Where `sizes` tell how much is left, it starts them if that takes as long, be it at once or never: so a
            little work takes no longer than it does here. None (default) leaves all work to the others.
        each: The most tasks of one worker: with 2 it never waits for the next.
        window: How many tasks may be begun from the oldest open one on; by default `each` of all workers.
        sizes: How large each task is, in any unit; empty (default) where nobody knows.

    >>> from fastcollate.pretokenize.engines.engine import in_order
    >>> list(in_order(Processes(2, timeout=60, alone=60).run(lambda task: [-task], [1, 2])))
    [-1, -2]
    """

    workers: int
    timeout: int
    alone: float | None = None
    each: int = 2
    window: int | None = None
    sizes: Sequence[int] = ()

    def run(self, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what `work` makes of the tasks, of which few are begun and not over.

        Raises:
            WorkerError: A worker died or gives no sign, or `work` or a task cannot be sent to one.
        """
        queue = TaskQueue(tasks, self.window or self.each * self.workers)
        helps = self.alone is not None
        begun = time.monotonic()
        while not self._is_long(queue.taken, time.monotonic() - begun) and (task := queue.take()):
            yield from _here(work, task, queue)
        with ExitStack() as ends:
            lines: list[WorkerLine] = []
            for _ in range(queue.left(self.workers - helps)):  # all start at once, and none without a task
                lines.append(WorkerLine(self.timeout))
                ends.callback(lines[-1].end)
            for line in lines:
                line.send(work, "the template or the encoding")
            team = _Team(lines, queue, self.each)
            while team.deal() or queue.left(1):
                if not helps or (task := queue.take()) is None:
                    yield from team.heard(wait_for_one=True)
                    continue
                for item in _here(work, task, queue):
                    yield item
                    yield from team.heard(wait_for_one=False)
        if queue.error is not None:
            raise queue.error

    def _is_long(self, done: int, seconds: float) -> bool:
        """Return whether there is enough to do for others, after so many tasks that took so many seconds."""
        if self.alone is None:
            return True
        if not done or not (known := sum(self.sizes[:done])):
            return done > 0 and seconds >= self.alone
        return seconds * sum(self.sizes[done:]) / known >= self.alone


def _here(work: Work, task: tuple[int, Any], queue: TaskQueue) -> Iterator[tuple[int, Any]]:
    number, value = task
    try:
        for item in work(value):
            yield number, item
    except Exception as error:  # noqa: BLE001  # whatever the work raises: tasks before this one come first
        queue.over(number, error)
    else:
        queue.over(number)


class _Team:
    """The workers, which are dealt tasks and listened to."""

    def __init__(self, lines: list[WorkerLine], queue: TaskQueue, each: int) -> None:
        self._lines = lines
        self._queue = queue
        self._each = each

    def deal(self) -> bool:
        """Give tasks to those who are ready and have fewest; return whether anybody has one."""
        for count in range(self._each):
            for line in self._lines:
                if line.is_ready and len(line.tasks) == count and (task := self._queue.take()):
                    line.send(task[1], "a record")
                    line.tasks.append(task[0])
        return any(line.tasks for line in self._lines)

    def heard(self, *, wait_for_one: bool) -> Iterator[tuple[int, Any]]:
        """Yield all that workers have made by now, or wait for what comes first; deal them further tasks.

        Raises:
            WorkerError: A worker died, or was silent for too long.
        """
        awaited = [line for line in self._lines if line.tasks or not line.is_ready]
        patience = min((line.patience for line in awaited), default=0.0) if wait_for_one else 0.0
        spoken = wait([line.connection for line in awaited], patience)
        for line in awaited:
            if line.connection not in spoken:
                line.check_patience()
                continue
            yield from self._said(line)
            while line.tasks and line.connection.poll():
                yield from self._said(line)
        self.deal()

    def _said(self, line: WorkerLine) -> Iterator[tuple[int, Any]]:
        """Receive one message; yield the item if it holds one."""
        kind, value = line.receive()
        if kind == ITEM:
            yield line.tasks[0], value
        elif kind in (OVER, FAILED):
            self._queue.over(line.tasks.popleft(), value)
