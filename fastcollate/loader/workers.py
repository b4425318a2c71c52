"""Worker processes whose items come in turn, and whose every end is told."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.util import Finalize
from operator import length_hint
from typing import Any

from fastcollate.loader.messages import Assignment, Work
from fastcollate.loader.one_worker import Method, OneWorker, interrupts_blocked

__all__ = ["WorkerPool"]

_GRACE, _REST = 0.4, 0.4  # seconds until a worker that does not end is killed, and for the killed ones to go


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
        stays: Whether the processes live on after the last item, to do their work `again`; by default they end.

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
        stays: bool = False,
    ) -> None:
        self.unpack: Callable[[Any], Iterator[Any]] = _alone
        import numpy.random  # noqa: F401, PLC0415  # here once, or every forked worker spends 18 ms on it

        self._stays, self._process = stays, os.getpid()
        self._workers: list[OneWorker] = []
        self._lock, self._closing = threading.RLock(), threading.Event()
        # Not weakref.finalize: when the interpreter ends, multiprocessing waits for its children, and this must
        # come before.
        self._end = Finalize(self, _end, (self._workers, self._lock, self._closing), exitpriority=10)
        try:
            for number in range(workers):
                worker = OneWorker(f"worker {number} of {workers}", timeout, self._closing)
                assignment = Assignment(work, number, workers, seed)
                worker.start(assignment, method, self._workers, shares=shares, stays=stays)
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
        if not self._stays:
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

    def again(self, seed: int, *told: Any) -> bool:
        """Have workers that stay do their work again, once all their items have come; return whether they do.

        They do not where the pool was closed, a worker died, or this is a process that was forked.

        Args:
            seed: The integer that seeds the generators anew.
            told: What `work` is told in further arguments.
        """
        if self._process != os.getpid():
            return False
        with self._lock:
            if self._turn or self._closing.is_set() or not all(worker.lives() for worker in self._workers):
                return False
            try:
                for worker in self._workers:
                    worker.order(seed, *told)
            except BaseException:
                self.close()
                raise
            self._turn.extend(self._workers)
        return True

    def close(self) -> None:
        """End the processes; what they had ready is dropped. Another thread's `next` ends with StopIteration."""
        self._end()


def _alone(item: Any) -> Iterator[Any]:
    """An item that is given as it was sent."""
    return iter((item,))


def _end(workers: list[OneWorker], lock: threading.RLock, closing: threading.Event) -> None:
    """End processes within a second: a closed pipe ends those that send, SIGKILL the others."""
    closing.set()
    with interrupts_blocked(), lock:
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
