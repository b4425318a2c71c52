"""The worker's side of a pool: a process that does its work and sends what comes of it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from fastcollate.loader.messages import Assignment, Failure, Message, send
from fastcollate.loader.slots import SlotWriter
from fastcollate.plan.permutation import derive_key

__all__ = ["serve"]

_END = object()  # after a worker's last item


def serve(assignment: Assignment, pipe: Connection) -> None:
    """Be a worker: send the items of the work, and how they ended, as far as the main process wants them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked worker has the main process's handler
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        slots = None if assignment.slots is None else SlotWriter(assignment.slots)
        memory = () if slots is None else (slots.allocate,)
        for seed, *told in _orders(assignment):
            _seed(derive_key(seed, assignment.number))
            items = iter(assignment.work(assignment.number, assignment.workers, *memory, *told))
            if not _send_all(items, pipe.fileno(), slots):
                return
    except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to the main process
        with suppress(Exception):  # where the pipe is broken, the main process wants no more
            send(pipe.fileno(), Message(failure=Failure.of(error)))


def _orders(assignment: Assignment) -> Iterator[tuple[Any, ...]]:
    """The seed, and what else the work is told, for each time that it is to be done."""
    order = (assignment.seed,)
    while True:
        yield order
        if assignment.orders is None:
            return
        try:
            order = assignment.orders.recv()
        except EOFError:  # the pool was closed
            return


def _send_all(items: Iterator[Any], pipe: int, slots: SlotWriter | None) -> bool:
    """Send all items and that they have ended; False if the main process wants no more."""
    while slots is None or slots.begin():
        item = next(items, _END)
        if item is _END:
            send(pipe, Message(ended=True))
            return True
        send(pipe, Message([item]), slots)
    return False


def _seed(key: int) -> None:
    random.seed(key)
    np.random.seed([key & 0xFFFFFFFF, key >> 32])  # noqa: NPY002  # what a user's function draws from
    torch.manual_seed(key)
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End this process when the one that started it dies, which a process blocked in a pipe would not notice.

    Its siblings may hold open the pipe that tells of the death. With a fork server, the parent is that one.
    """
    parent, server = multiprocessing.parent_process(), os.getppid()
    while parent is not None and parent.is_alive() and os.getppid() == server:
        parent.join(1)
    os._exit(1)
