"""The main process's side of a worker: starting it, hearing it, telling it to go on, and how it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from multiprocessing.util import register_after_fork
from typing import Any, Literal, NoReturn

from fastcollate.errors import WorkerError
from fastcollate.loader.messages import Assignment, Failure, Message, receive
from fastcollate.loader.serving import serve
from fastcollate.loader.slots import SlotReader, new_slots

__all__ = ["Method", "OneWorker", "interrupts_blocked"]

Method = Literal["fork", "spawn", "forkserver"]

_PIPE = 1 << 20  # bytes that a pipe should hold: about a parcel, so that a worker makes the next one meanwhile
_GLANCE = 0.2  # seconds after which a waiting pool looks whether it was closed, or a worker died unheard
_WHY = {
    "SIGKILL": "memory ran out, usually; use fewer workers, smaller batches or num_workers=0",
    "SIGBUS": "a file that it had mapped became shorter; never write into a store in place",
}
_ELSE = "another process ended it, or a library failed in it; set num_workers=0 to see where"


@dataclass(slots=True, eq=False)
class OneWorker:
    """The main process's side of a worker."""

    name: str
    timeout: float
    closing: threading.Event
    message: Message = field(default_factory=Message)
    ready: Iterator[Any] = field(default_factory=lambda: iter(()))
    slots: SlotReader | None = None
    orders: tuple[Connection, ...] = ()  # both ends, so that a write never meets a closed pipe
    pipe: Connection = field(init=False)
    process: BaseProcess = field(init=False)

    def start(
        self,
        assignment: Assignment,
        method: Method | None,
        started: list[OneWorker],
        *,
        shares: bool,
        stays: bool,
    ) -> None:
        """Start the process, and put this worker among those that were `started`; see `WorkerPool`."""
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
                if stays:
                    self.orders = context.Pipe(duplex=False)
                    register_after_fork(self.orders[1], Connection.close)  # or a sibling would wait for ever
                    assignment = replace(assignment, orders=self.orders[0])
                self.process = context.Process(target=serve, args=(assignment, pipe), daemon=True)
                if context.get_start_method() != "fork":
                    ensure_running()  # the tracker, now: starting it unblocks interrupts
                with interrupts_blocked():
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

    def lives(self) -> bool:
        """Return whether the process has not ended."""
        return self.process.is_alive()

    def order(self, seed: int, *told: Any) -> None:
        """Tell a worker whose items have all come to do its work again."""
        self.message = Message()
        self.orders[1].send((seed, *told))

    def close(self) -> None:
        """End a worker that sends, or waits to be told something; what it sent lives on."""
        for end in (self.pipe, *self.orders):
            end.close()
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


def _widen(pipe: Connection) -> None:
    """Let a pipe hold a parcel, where the system lets us."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl  # noqa: PLC0415  # not on Windows

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: it is lost, or leaves half a process, where it meets a fork."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
