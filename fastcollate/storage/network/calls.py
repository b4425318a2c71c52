"""Calls over a network: run beside the program, ended at a deadline, and given up on Ctrl-C."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any, TypeVar

from fastcollate.errors import StorageError

__all__ = ["finished", "started"]

Answer = TypeVar("Answer")

_LAST_WORDS = 0.1  # seconds, at the end of a program


def started(call: Coroutine[Any, Any, Answer]) -> Future[Answer]:
    """Run a coroutine on the thread of network calls, and return what becomes of it.

    Raises:
        StorageError: This process was forked from one that has used the network: connections need threads, which a
            fork does not copy, and a call would wait for ever.

    >>> started(asyncio.sleep(0, "slept")).result()
    'slept'
    """
    calls = _calls()
    if calls.process != os.getpid():
        call.close()
        raise StorageError(
            "object storage was used before this process was forked, and a fork does not copy the threads that "
            "its connections need: start processes by spawn or forkserver, or use object storage only in them"
        )
    return asyncio.run_coroutine_threadsafe(call, calls.loop)


def finished(call: Future[Answer]) -> Answer:
    """Return the answer of a call that was started, and end the call if it is not waited for any longer."""
    try:
        return call.result()
    except BaseException:  # Ctrl-C too
        call.cancel()
        raise


class _Calls:
    """A thread with an event loop, of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, name="fastcollate network calls", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def _end(self) -> None:
        """End what still runs: an answer must not come when Python is gone."""
        if self.process == os.getpid():
            asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop).result(5)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(5)
            self.loop.close()


async def _cancel_all() -> None:
    """End all calls.

    The client's own threads look once more at a call that was ended, now or by its deadline, and would meet a
    Python that is gone.
    """
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(_LAST_WORDS)


@cache
def _calls() -> _Calls:
    return _Calls()
