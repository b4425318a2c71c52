"""Workers of a Ray cluster, or of a Ray that is started on this machine for one run."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from fastcollate.errors import FastCollateError, WorkerError
from fastcollate.pretokenize.engines.engine import Work
from fastcollate.pretokenize.engines.task_queue import TaskQueue
from fastcollate.pretokenize.engines.worker import FAILED, ITEM, answers, loaded

__all__ = ["RayCluster", "library"]

_RETRIES = 3  # of a task whose worker died
_ENDING_SECONDS = 10  # that tasks have to end once they are cancelled
_STAY = "set engine='local' to stay on this machine"
_TRAVELLING = ("AWS_", "AZURE_", "GOOGLE_", "TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "FASTCOLLATE_")


@dataclass(frozen=True, slots=True)
class RayCluster:
    """The engine that deals tasks to a Ray cluster, a CPU each.

    It is the cluster that this program is connected to, or that `RAY_ADDRESS` names; without either a Ray is
    started on this machine, which ends with the run. A task whose worker dies begins anew on another, up to three
    times. Workers must be able to import fastcollate, and all that the work is defined in. What it reads and
    writes must be URLs, or in folders that all nodes share; a relative path is one in this process's folder. The
    variables of the environment that object stores and caches are told by (`AWS_...`, `TIKTOKEN_CACHE_DIR`) travel
    along.

    Args:
        workers: The most tasks at a time; None is as many as the cluster has CPUs.
        timeout: The seconds to wait for a sign of any task.
        window: How many tasks a worker may be begun from the oldest open one on.

    >>> RayCluster(2, timeout=600)
    RayCluster(workers=2, timeout=600, window=1)
    """

    workers: int | None
    timeout: int
    window: int = 1

    def run(self, work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yield what `work` makes of the tasks, of which few are begun and not over.

        Raises:
            WorkerError: Ray is not installed or cannot be reached, a worker died too often, no task gives a sign,
                or the work fails by an error that is none of ours.
        """
        message = _message(work, "the template or the encoding")
        with ExitStack() as ends:
            ray = ends.enter_context(_connected(self.workers))
            count = self.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
            queue = TaskQueue(tasks, self.window * count)
            streams = _Streams(ray, queue, self.timeout, message)
            ends.callback(streams.end)
            while streams.deal(count):
                yield from streams.heard()
        if queue.error is not None:
            raise queue.error


def library() -> Any:
    """Return Ray.

    Raises:
        WorkerError: It is not installed.
    """
    try:
        return import_module("ray")
    except ImportError as error:
        raise WorkerError(
            "engine is 'ray', and the package ray is not here: pip install 'fastcollate[ray]', or "
            f"{_STAY} ({error})"
        ) from error


class _Streams:
    """The tasks that Ray was given, each of which answers by a stream of messages."""

    def __init__(self, ray: Any, queue: TaskQueue, timeout: int, work: bytes) -> None:
        self._ray = ray
        self._queue = queue
        self._timeout = timeout
        self._begin = ray.remote(num_cpus=1, max_retries=_RETRIES, num_returns="streaming")(_answered)
        self._work, self._place = ray.put(work), ray.put(_Place.of_this_process())
        self._open: dict[Any, int] = {}
        self._ends: dict[int, BaseException | None] = {}

    def deal(self, count: int) -> bool:
        """Let as many tasks be open; return whether one is."""
        while len(self._open) < count and (task := self._queue.take()):
            message = _message(task[1], "a record")
            self._open[self._begin.remote(self._work, message, self._place)] = task[0]
        return bool(self._open)

    def heard(self) -> Iterator[tuple[int, Any]]:
        """Wait for a sign of a task, and yield what tasks have made by then.

        Raises:
            WorkerError: There is none for too long, or a worker died too often.
        """
        if not self._ray.wait([*self._open], timeout=self._timeout)[0]:
            raise WorkerError(
                f"no task on Ray has given a sign for {self._timeout} seconds: the cluster has no free CPU, a "
                f"worker is stopped or stuck, or its records are very long; raise timeout=, or {_STAY}"
            )
        for stream in self._ray.wait([*self._open], num_returns=len(self._open), timeout=0)[0]:
            number = self._open[stream]
            try:
                kind, value = ForkingPickler.loads(self._ray.get(next(stream)))
            except StopIteration:  # only now is it sure that Ray will not begin it again
                del self._open[stream]
                self._queue.over(number, self._ends.pop(number, _cut_off()))
            except self._ray.exceptions.RayError as error:
                self._ends[number] = _failure(error)
            else:
                if kind == ITEM:
                    yield number, value
                else:
                    self._ends[number] = _ours(value) if kind == FAILED else None

    def end(self) -> None:
        """Cancel what is open, and wait until it has ended: nobody writes any more."""
        for stream in self._open:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(stream, force=True)
        last = time.monotonic() + _ENDING_SECONDS
        while self._open and (left := last - time.monotonic()) > 0:
            for stream in self._ray.wait([*self._open], timeout=left)[0]:
                try:
                    next(stream)
                except (StopIteration, self._ray.exceptions.RayError):
                    del self._open[stream]


class _Place(NamedTuple):
    """Where the caller's program runs: its folder, and its environment so far as the work may ask for it."""

    folder: str
    environment: dict[str, str]

    @classmethod
    def of_this_process(cls) -> _Place:
        """Return this process's."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(_TRAVELLING)}
        return cls(str(os.path.realpath(os.curdir)), environment)


def _answered(work: bytes, task: bytes, place: _Place) -> Iterator[bytes]:
    """Do a task in a worker of Ray, and yield the messages that hold what becomes of it."""
    before = os.path.realpath(os.curdir)
    with suppress(OSError):  # a node may lack it, where paths are absolute
        os.chdir(place.folder)
    try:
        with _variables(place.environment):
            for answer in answers(_loaded(work), loaded(task), stay=_STAY):
                yield bytes(answer)
    finally:
        os.chdir(before)


@lru_cache(maxsize=1)
def _loaded(work: bytes) -> Any:
    """Return the work, which loads its vocabulary once a worker."""
    return loaded(work)


@contextmanager
def _connected(workers: int | None) -> Iterator[Any]:
    """Lend Ray, connected to a cluster, or to one that ends with the block."""
    ray = library()
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise WorkerError(
            f"RAY_ADDRESS is {address!r}, and a client of Ray cannot read what tasks have made while they run: "
            "start on a node of the cluster (HOST:6379), or by `ray job submit`"
        )
    try:
        _connect(ray, address, workers)
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    """Connect to a cluster, or start one, in silence; signals stay the caller's."""
    own = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    # A Ray of our own finds what this process can import, from wherever.
    variables = {"PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _variables(variables):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        where = "Ray cannot be started" if own else f"the Ray cluster at {address} (RAY_ADDRESS) cannot be reached"
        raise WorkerError(f"{where} ({_last_line(error)}); {_STAY}") from error
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    with suppress(AttributeError):  # what Ray says of dead workers would go to standard output
        worker = import_module("ray._private.worker").global_worker
        worker.threads_stopped.set()
        worker.gcs_error_subscriber.close()


@contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _message(value: Any, what: str) -> bytes:
    try:
        return bytes(ForkingPickler.dumps(value))
    except Exception as error:  # whatever the objects in it raise
        raise WorkerError(f"{what} cannot be sent to a worker of Ray ({error}); {_STAY}") from error


def _ours(error: BaseException) -> BaseException:
    """Return an error of the work as one of ours."""
    if isinstance(error, FastCollateError):
        return error
    found = WorkerError(f"the work failed on Ray by {type(error).__name__}: {error}")
    found.__cause__ = error
    return found


def _cut_off() -> WorkerError:
    return WorkerError(f"a task on Ray ended without an answer; run it again, or {_STAY}")


def _failure(error: Exception) -> WorkerError:
    """Return what Ray has to say of a task as an error of ours."""
    why = "its workers run out of memory or are killed, or they cannot import fastcollate, of this version"
    found = WorkerError(
        f"a task on Ray was lost, {_RETRIES} times tried again where its worker died: {why} "
        f"({type(error).__name__}: {_last_line(error)}); {_STAY}"
    )
    found.__cause__ = error
    return found


def _last_line(error: Exception) -> str:
    return next(reversed(str(error).strip().splitlines()), type(error).__name__)
