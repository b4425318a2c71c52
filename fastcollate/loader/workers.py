"""Worker processes whose items come in turn, and whose every end is told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from multiprocessing.util import Finalize, register_after_fork
from operator import length_hint
from typing import Any, Literal, NoReturn

from fastcollate.errors import WorkerError
from fastcollate.loader.messages import Assignment, Failure, Message, Work, receive
from fastcollate.loader.serving import serve
from fastcollate.loader.slots import SlotReader, new_slots

__all__ = ["WorkerPool"]

Method = Literal["fork", "spawn", "forkserver"]

_PIPE = 1 << 20  # bytes that a pipe should hold: about a parcel, so that a worker makes the next one meanwhile
_GLANCE = 0.2  # seconds after which a waiting pool looks whether it was closed, or a worker died unheard
_GRACE, _REST = 0.4, 0.4  # seconds until a worker that does not end is killed, and for the killed ones to go
_WHY = {
    "SIGKILL": "memory ran out, usually; use fewer workers, smaller batches or num_workers=0",
    "SIGBUS": "a file that it had mapped became shorter; never write into a store in place",
}
_ELSE = "another process ended it, or a library failed in it; set num_workers=0 to see where"


class WorkerPool(Iterator[Any]):
    """Run `work(worker, num_workers)` in processes, and give their items in turn.

    Where `unpack` is set, a worker's items are what it makes of each thing that was sent, one after another.

    Worker 0's first item comes first, then worker 1's first, ..., then worker 0's second, ...; a worker whose
    items have ended is passed over. An error ends the pool and all its processes. So do `close`, garbage
    collection and the end of the interpreter, in a second at most. A worker ends by itself when the process that
    started it dies. No random generator of this process is drawn from or changed.

    Args:
        work: The function that each process calls with its number and the number of workers, and whose items
            it sends. Under the start methods "spawn" and "forkserver" it must be picklable.
        workers: The number of processes, at least 1.
        timeout: The seconds for which an item is waited for while its worker sends nothing; then the pool ends.
        seed: The integer that seeds `random`, NumPy and torch in every worker, in each with a key of its own.
        method: How processes are started; None, the default, does what `multiprocessing` does.
        shares: Whether `work` gets a third argument: what allocates arrays that need not travel.

    Raises:
        WorkerError: A worker cannot be started, died, sent nothing for `timeout` seconds, or raised an exception
            that cannot be pickled. Any other exception of a worker is raised as it is, after the items that came
            before it and with the worker's traceback as a note.

    >>> list(WorkerPool(lambda worker, n: range(worker, 7, n), workers=2, timeout=60, seed=0, method="fork"))
    [0, 1, 2, 3, 4, 5, 6]
    """

    def __init__(
        self,
        work: Work,
        *,
        workers: int,
        timeout: float,
        seed: int,
        method: Method | None = None,
        shares: bool = False,
    ) -> None:
        self.unpack: Callable[[Any], Iterator[Any]] = _alone
        import numpy.random  # noqa: F401, PLC0415  # here once, or every forked worker spends 18 ms on it

        self._workers: list[_Worker] = []
        self._lock, self._closing = threading.RLock(), threading.Event()
        # Not weakref.finalize: when the interpreter ends, multiprocessing waits for its children, and this must
        # come before.
        self._end = Finalize(self, _end, (self._workers, self._lock, self._closing), exitpriority=10)
        try:
            for number in range(workers):
                worker = _Worker(f"worker {number} of {workers}", timeout, self._closing)
                worker.start(Assignment(work, number, workers, seed), method, self._workers, shares)
        except BaseException:
            self.close()
            raise
        self._turn = deque(self._workers)

    def __next__(self) -> Any:
        try:
            with self._lock:
                while self._turn and not self._closing.is_set():
                    for item in self._turn[0].ready:
                        self._turn.rotate(-1)
                        return item
                    if not self._turn[0].receive(self.unpack):
                        self._turn.popleft()
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def take(self) -> list[Any]:
        """Return the next item, and those after it that have come already; an empty list after the last one."""
        items = list(islice(self, 1))
        with self._lock:
            while self._turn and items and length_hint(self._turn[0].ready):
                items.append(next(self._turn[0].ready))
                self._turn.rotate(-1)
        return items

    def close(self) -> None:
        """End the processes; what they had ready is dropped. Another thread's `next` ends with StopIteration."""
        self._end()


@dataclass(slots=True, eq=False)
class _Worker:
    """The main process's side of a worker."""

    name: str
    timeout: float
    closing: threading.Event
    message: Message = field(default_factory=Message)
    ready: Iterator[Any] = field(default_factory=lambda: iter(()))
    slots: SlotReader | None = None
    pipe: Connection = field(init=False)
    process: BaseProcess = field(init=False)

    def start(self, assignment: Assignment, method: Method | None, started: list[_Worker], shares: bool) -> None:
        """Start the process, and put this worker among those that were `started`."""
        context: Any = multiprocessing.get_context(method)
        if multiprocessing.current_process().daemon or not hasattr(os, "readv"):
            raise WorkerError(
                f"{self.name} cannot be started: a daemon, such as a worker, has none, nor has Windows; "
                "set num_workers=0"
            )
        try:
            self.pipe, pipe = context.Pipe(duplex=False)
            with pipe, ExitStack() as ends:
                os.set_blocking(self.pipe.fileno(), False)
                register_after_fork(self.pipe, Connection.close)  # or a sibling would keep it open
                _widen(pipe)
                if shares:
                    slots, self.slots = new_slots(context.Pipe)
                    assignment = replace(assignment, slots=ends.enter_context(slots))
                self.process = context.Process(target=serve, args=(assignment, pipe), daemon=True)
                if context.get_start_method() != "fork":
                    ensure_running()  # the tracker, now: starting it unblocks interrupts
                with _interrupts_blocked():
                    self.process.start()
                    started.append(self)
        except OSError as error:
            raise WorkerError(
                f"{self.name} cannot be started: {error}; use fewer workers, or set num_workers=0"
            ) from error
        self.name += f" (pid {self.process.pid})"

    def receive(self, unpack: Callable[[Any], Iterator[Any]]) -> bool:
        """Receive what comes next, unless all has come; raise the exception that comes instead."""
        if self.message.failure is not None:
            self._raise(self.message.failure)
        if self.message.ended:
            return False
        self.message = receive(self._read, self.slots)
        if self.message.items:
            (item,) = self.message.items
            self.ready = unpack(item)
        return True

    def close(self) -> None:
        """End a worker that sends, or waits until an item was received; what it sent lives on."""
        self.pipe.close()
        if self.slots is not None:
            self.slots.close()

    def _read(self, parts: list[memoryview]) -> int:
        """Read what has come, once something has; StopIteration if the pool is closed meanwhile."""
        left, dead, sentinel = self.timeout, False, self.process.sentinel
        while not self.closing.is_set():
            with suppress(BlockingIOError):
                if count := os.readv(self.pipe.fileno(), parts):
                    return count
                dead = True
            if dead:
                raise WorkerError(f"{self.name} {self._end_of_process()}")
            if left <= 0:
                raise WorkerError(
                    f"{self.name} sent nothing for {self.timeout:g} s: it is stopped, or waits for a file or a "
                    "lock; set a larger timeout if an item can take longer"
                )
            ready = wait([self.pipe, sentinel], min(left, _GLANCE))
            if not ready:
                left -= _GLANCE  # not by the clock: the time for which this process is stopped is not the worker's
            dead = sentinel in ready or not (ready or self.process.is_alive())
        raise StopIteration

    def _end_of_process(self) -> str:
        """How the process ended, and what to do."""
        self.process.join(1)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = {int(known): known.name for known in signal.Signals}.get(-code, "a real-time signal")
            return f"was killed by signal {-code} ({name}): {_WHY.get(name, _ELSE)}"
        return (
            f"ended with exit code {code} before its last item: what it wrote to stderr says why; a script that "
            "starts processes needs `if __name__ == '__main__':` around its main code"
        )

    def _raise(self, failure: Failure) -> NoReturn:
        error = failure.exception() or WorkerError(
            f"{self.name} raised {failure.summary}: it cannot be raised in another process; the note has its "
            "traceback"
        )
        error.add_note(f"In {self.name}:\n{failure.trace.rstrip()}")
        raise error


def _alone(item: Any) -> Iterator[Any]:
    """An item that is given as it was sent."""
    return iter((item,))


def _end(workers: list[_Worker], lock: threading.RLock, closing: threading.Event) -> None:
    """End processes within a second: a closed pipe ends those that send, SIGKILL the others."""
    closing.set()
    with _interrupts_blocked(), lock:
        for worker in workers:
            worker.close()
        for seconds in (_GRACE, _REST):
            deadline = time.monotonic() + seconds
            for worker in workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            for worker in workers:
                worker.process.kill()
        for worker in workers:
            with suppress(ValueError):  # the system cannot end it now
                worker.process.close()
        workers.clear()


def _widen(pipe: Connection) -> None:
    """Let a pipe hold a parcel, where the system lets us."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl  # noqa: PLC0415  # not on Windows

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: it is lost, or leaves half a process, where it meets a fork."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
