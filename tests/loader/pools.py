"""Pools of workers as tests make them, and the work that goes on until it is ended."""

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from fastcollate.loader.workers import WorkerPool

FORK, METHODS = "fork", ["fork", "spawn", "forkserver"]
LARGE = 3 << 20  # bytes that no pipe holds


@contextmanager
def pool_of(work, *, workers=2, timeout=30, seed=0, parcel=1, method=FORK):
    pool = WorkerPool(work, workers=workers, timeout=timeout, seed=seed, parcel=parcel, method=method)
    try:
        yield pool
    finally:
        pool.close()


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
