"""What workers run; a process reads tasks from a line and answers each, until the line ends."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, NamedTuple

from fastcollate.errors import FastCollateError, WorkerError

__all__ = ["FAILED", "ITEM", "OVER", "READY", "STAY", "answers", "loaded", "serve"]

# What a message is: the work is loaded, an item, the end of a task, or the error that ended it.
READY, ITEM, OVER, FAILED = range(4)
STAY = "set workers=1 to stay in one process"


class _Unreadable(NamedTuple):
    """A message that cannot be loaded here."""

    error: Exception


def serve(handle: int) -> None:
    """Do the work that comes first with each task that follows, until the main process ends.

    Args:
        handle: The descriptor of a socket to the main process.
    """
    line = Connection(handle)
    messages: SimpleQueue[Any] = SimpleQueue()
    # A thread takes messages as they come: the main process never waits to send, and its end is noticed at once.
    threading.Thread(target=_take, args=(line, messages), daemon=True).start()
    work = messages.get()
    with suppress(OSError):  # the main process has ended, however it did
        line.send_bytes(_message(READY, None))
        while True:
            task = messages.get()
            for answer in answers(work, task, stay=STAY):
                line.send_bytes(answer)


def _take(line: Connection, messages: SimpleQueue[Any]) -> None:
    while True:
        try:
            message = line.recv_bytes()
        except (EOFError, OSError):  # the main process has ended: nobody waits for what is being done
            os._exit(1)
        messages.put(loaded(message))


def loaded(message: bytes) -> Any:
    """Return what a message holds, or what stands for one that cannot be loaded here."""
    try:
        return ForkingPickler.loads(message)
    except Exception as error:  # noqa: BLE001  # whatever the objects in it raise
        return _Unreadable(error)


def answers(work: Any, task: Any, *, stay: str) -> Iterator[memoryview]:
    """Yield the messages that hold what becomes of a task: each item, then the end or the error.

    Args:
        work: What is done, as `loaded` returned it.
        task: What it is done with, as `loaded` returned it.
        stay: What an error says of how to do without workers.
    """
    try:
        for item in _do(work, task, stay):
            yield _message(ITEM, item)
        yield _message(OVER, None)
    except (SystemExit, GeneratorExit):  # the worker itself shall end
        raise
    except BaseException as error:  # noqa: BLE001  # whatever the work raises is the main process's to raise
        yield _failure(error)


def _failure(error: BaseException) -> memoryview:
    if not isinstance(error, FastCollateError):
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
    try:
        message = _message(FAILED, error)
        ForkingPickler.loads(message)  # some errors can be sent, but not made again
    except Exception:  # noqa: BLE001
        return _message(FAILED, WorkerError(f"{type(error).__name__} in a worker process: {error}"))
    return message


def _do(work: Any, task: Any, stay: str) -> Any:
    for part, what in ((work, "the template or the encoding"), (task, "a record")):
        if isinstance(part, _Unreadable):
            raise WorkerError(f"{what} cannot be loaded in a worker process ({part.error}); {stay}")
    return work(task)


def _message(kind: int, value: Any) -> memoryview:
    return ForkingPickler.dumps((kind, value))
