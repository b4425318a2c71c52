"""Worker processes of this machine, which run nothing of the caller's program."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
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
        workers: The number of processes.
        timeout: The seconds to wait for a sign of a worker before it is taken for stuck.
        spared: The seconds that this process works before it starts others, and then on until one of them is
            ready: so a little work never takes longer than it does here. 0 leaves all work to the others.
        each: The most tasks of one worker: with 2 it never waits for the next, with 1 it leaves more to others.
        window: How many tasks may be begun from the oldest open one on; by default `each` of all workers.

    >>> from fastcollate.pretokenize.engines.engine import in_order
    >>> list(in_order(Processes(2, timeout=60, spared=60).run(lambda task: [-task], [1, 2])))
    [-1, -2]
    """

    workers: int
    timeout: int
    spared: float = 0
    each: int = 2
    window: int | None = None

    def run(self, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what `work` makes of the tasks, of which few are begun and not over.

        Raises:
            WorkerError: A worker died or gives no sign, or `work` or a task cannot be sent to one.
        """
        queue = TaskQueue(tasks, self.window or self.each * self.workers)
        begun = time.monotonic()
        while time.monotonic() - begun < self.spared and (task := queue.take()):
            yield from _here(work, task)
            queue.over(task[0])
        with ExitStack() as ends:
            lines: list[WorkerLine] = []
            for _ in range(queue.left(self.workers)):  # all start at once, and none without a task
                lines.append(WorkerLine(self.timeout))
                ends.callback(lines[-1].end)
            for line in lines:
                line.send(work, "the template or the encoding")
            team = _Team(lines, queue, self.each)
            while self.spared and not team.is_ready and (task := queue.take()):
                for item in _here(work, task):
                    yield item
                    yield from team.heard(wait_for_one=False)
                queue.over(task[0])
            while team.deal() or queue.left(1):
                yield from team.heard(wait_for_one=True)
        if queue.error is not None:
            raise queue.error


def _here(work: Work, task: tuple[int, Any]) -> Iterator[tuple[int, Any]]:
    for item in work(task[1]):
        yield task[0], item


class _Team:
    """The workers, which are dealt tasks and listened to."""

    def __init__(self, lines: list[WorkerLine], queue: TaskQueue, each: int) -> None:
        self._lines = lines
        self._queue = queue
        self._each = each

    @property
    def is_ready(self) -> bool:
        """Whether some worker is."""
        return any(line.is_ready for line in self._lines)

    def deal(self) -> bool:
        """Give tasks to those who are ready and have fewest; return whether anybody has one."""
        for count in range(self._each):
            for line in self._lines:
                if line.is_ready and len(line.tasks) == count and (task := self._queue.take()):
                    line.send(task[1], "a record")
                    line.tasks.append(task[0])
        return any(line.tasks for line in self._lines)

    def heard(self, *, wait_for_one: bool) -> Iterator[tuple[int, Any]]:
        """Yield what workers have made by now, or what comes first; deal them further tasks.

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
            kind, value = line.receive()
            if kind == ITEM:
                yield line.tasks[0], value
            elif kind in (OVER, FAILED):
                self._queue.over(line.tasks.popleft(), value)
        self.deal()
