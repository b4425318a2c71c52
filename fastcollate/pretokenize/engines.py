"""Where chunks are encoded: in this process, or in worker processes."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

from fastcollate.errors import WorkerError

__all__ = ["Engine", "Processes", "ThisProcess"]

Task = TypeVar("Task")
Done = TypeVar("Done")

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fastcollate.pretokenize.worker import serve; serve(int(sys.argv[2]))"
)
_STAY = "set workers=1 to stay in one process"


class Engine(Protocol):
    """What runs tasks."""

    def run(self, work: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """Yield what `work` makes of each task, in the order of the tasks, of which few are read ahead."""
        ...


class ThisProcess:
    """The engine that starts no process.

    >>> list(ThisProcess().run(abs, [-1, 2]))
    [1, 2]
    """

    def run(self, work: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """Return what `work` makes of each task, made when it is asked for."""
        return map(work, tasks)


@dataclass(frozen=True, slots=True)
class Processes:
    """The engine that deals tasks to worker processes in turn.

    The workers run nothing of the caller's program, so what is sent to them must be defined in modules that they
    can import. Each has a line of its own, so that none can block another's, and ends with this process, however
    this process ends.

    Args:
        workers: The number of processes.
        timeout: The seconds to wait for a worker before it is taken for stuck.
        spared: How much is done in this process before any other is started.
        size: A function that says how much that is of what became of a task; each counts 1 by default.

    >>> list(Processes(2, timeout=60, spared=1).run(abs, [-1, 2]))
    [1, 2]
    """

    workers: int
    timeout: int
    spared: int = 0
    size: Callable[[Any], int] = lambda _: 1

    def run(self, work: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """Yield what `work` makes of each task, with at most two tasks a worker in flight.

        Raises:
            WorkerError: A worker died or gives no answer, or `work` or a task cannot be sent to one.
        """
        tasks = iter(tasks)
        yield from self._spared(work, tasks)
        team: list[_Worker] = []
        try:
            first = []
            for task in islice(tasks, self.workers):  # all start at once, and none without a task
                first.append(task)
                team.append(_Worker(self.timeout))
            for worker in team:
                worker.send(work, "the template or the encoding")
            yield from _in_turn(team, chain(first, tasks))
        finally:
            for worker in team:
                worker.end()

    def _spared(self, work: Callable[[Task], Done], tasks: Iterator[Task]) -> Iterator[Done]:
        """Yield what becomes of the first tasks, done here."""
        left = self.spared
        for task in tasks if left else ():
            done = work(task)
            left -= self.size(done)
            yield done
            if left <= 0:
                return


def _in_turn(team: list[_Worker], tasks: Iterable[Any]) -> Iterator[Any]:
    pending: deque[_Worker] = deque()
    for worker, task in zip(cycle(team), tasks, strict=False):
        worker.send(task, "a record")
        pending.append(worker)
        if len(pending) == 2 * len(team):
            yield pending.popleft().receive()
    while pending:
        yield pending.popleft().receive()


class _Worker:
    """A process that runs `worker.serve`, and the line to it."""

    def __init__(self, timeout: int) -> None:
        self._timeout = timeout
        ours, theirs = socket.socketpair()
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", timeout, 0))
        self._line = Connection(ours.detach())
        with theirs:
            command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(theirs.fileno())]
            try:
                # A session of its own: Ctrl-C on a terminal reaches this process alone, which ends the worker.
                self._process = subprocess.Popen(  # noqa: S603  # the command is ours
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                raise WorkerError(f"a worker process cannot be started ({error.strerror}); {_STAY}") from error

    def send(self, value: Any, what: str) -> None:
        """Send the work, which comes first, or a task; `what` names it in an error."""
        try:
            message = ForkingPickler.dumps(value)
        except Exception as error:  # whatever the objects in it raise
            raise WorkerError(f"{what} cannot be sent to a worker process ({error}); {_STAY}") from error
        try:
            self._line.send_bytes(message)
        except OSError as error:
            raise self._failure(error) from None

    def receive(self) -> Any:
        """Return what became of the oldest task that was sent, or raise the error it met."""
        try:
            done, error = self._line.recv()
        except (EOFError, OSError) as failure:
            raise self._failure(failure) from None
        if error is not None:
            raise error
        return done

    def _failure(self, error: Exception) -> WorkerError:
        if isinstance(error, BlockingIOError):
            return WorkerError(
                f"worker process {self._process.pid} has not answered for {self._timeout} seconds: it is stopped "
                f"or stuck, or its records are very long; raise timeout=, or {_STAY}"
            )
        return WorkerError(f"a worker process died: it ran out of memory, or was killed; {_STAY}")

    def end(self) -> None:
        """End the process at once, whatever it does; it holds nothing that is worth a goodbye."""
        self._process.kill()
        self._process.wait()
        self._line.close()
