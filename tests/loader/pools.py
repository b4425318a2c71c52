"""Pools of workers as tests make them, and the work that goes on until it is ended."""

import os
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

from fastcollate.loader.workers import WorkerPool

FORK, METHODS = "fork", ["fork", "spawn", "forkserver"]
LARGE = 3 << 20  # bytes that no pipe holds


@contextmanager
def pool_of(work, *, workers=2, timeout=30, seed=0, parcel=None, method=FORK):
    """A pool whose workers send one item at once, or lists of `parcel` items."""
    if parcel is not None:
        work = partial(in_lists, work=work, parcel=parcel)
    pool = WorkerPool(work, workers=workers, timeout=timeout, seed=seed, method=method)
    if parcel is not None:
        pool.unpack = iter
    try:
        yield pool
    finally:
        pool.close()


def in_lists(worker, workers, *, work, parcel):
    """The items of some work in lists; those before an exception come before it."""
    made = []
    try:
        for item in work(worker, workers):
            made.append(item)
            if len(made) == parcel:
                yield made
                made = []
    except Exception:
        if made:
            yield made
        raise
    if made:
        yield made


def lives(pid):
    """Whether a process has not ended, be it waited for or not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def endless(worker, workers, *, size=0, hangs_at=None):
    """Its own process, for ever; `size` bytes with each item, and no more after `hangs_at` items."""
    filler = np.zeros(size, np.uint8)
    for i in range(10**9):
        if i == hangs_at:
            time.sleep(1000)
        yield os.getpid(), filler


def pids_of(pool, workers=2):
    return [next(pool)[0] for _ in range(workers)]
