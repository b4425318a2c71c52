"""However a worker, its pool or its parent ends, it is told, and no process is left behind."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from pools import FORK, LARGE, METHODS, endless, lives, pids_of, pool_of

from fastcollate import WorkerError
from fastcollate.loader.workers import WorkerPool

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "within a message"])
def test_a_killed_worker_is_told_and_its_siblings_end(size):
    with pool_of(partial(endless, size=size)) as pool:
        pids = pids_of(pool)
        time.sleep(0.2)
        os.kill(pids[1], signal.SIGKILL)
        begun = time.monotonic()
        told = rf"worker 1 of 2 \(pid {pids[1]}\) was killed by signal 9 \(SIGKILL\): memory ran out, usually;"
        with pytest.raises(WorkerError, match=told):
            list(pool)
        assert time.monotonic() - begun < 5
        assert not any(map(lives, pids))


def test_a_worker_that_leaves_is_told():
    with (
        pool_of(lambda worker, workers: os._exit(3)) as pool,
        pytest.raises(WorkerError, match="ended with exit code 3 before its last item: what it wrote to stderr"),
    ):
        next(pool)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "within a message"])
def test_a_stopped_worker_is_told_after_the_timeout(size):
    with pool_of(partial(endless, size=size), timeout=0.5) as pool:
        pids = pids_of(pool)
        time.sleep(0.2)
        os.kill(pids[0], signal.SIGSTOP)
        begun = time.monotonic()
        told = rf"worker 0 of 2 \(pid {pids[0]}\) sent nothing for 0.5 s: it is stopped, or waits for a file"
        with pytest.raises(WorkerError, match=told):
            list(pool)
        assert 0.5 <= time.monotonic() - begun < 3
        assert not any(map(lives, pids))


def test_a_slow_worker_is_waited_for():
    def work(worker, workers):
        for i in range(3):
            time.sleep(0.3)
            yield i

    with pool_of(work, timeout=0.6) as pool:
        assert list(pool) == [0, 0, 1, 1, 2, 2]


SCRIPT = """
import sys
from functools import partial
from pools import endless, pids_of
from fastcollate.loader.workers import WorkerPool

if __name__ == "__main__":
    work = partial(endless, size=int(sys.argv[2]), hangs_at=1)
    pool = WorkerPool(work, workers=2, timeout=60, seed=0, method=sys.argv[1])
    print(*pids_of(pool), flush=True)
    if "wait" in sys.argv:
        sys.stdin.read()
"""


@contextmanager
def script(tmp_path, *arguments):
    """A script that has begun to iterate, and the pids of its two workers."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        try:
            yield process, pids
        finally:
            process.kill()
            for pid in filter(lives, pids):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_workers_end_when_their_parent_is_killed(method, tmp_path):
    with script(tmp_path, method, LARGE, "wait") as (process, pids):
        time.sleep(0.2)
        assert all(map(lives, pids))
        process.kill()
        begun = time.monotonic()
        while any(map(lives, pids)) and time.monotonic() - begun < 5:
            time.sleep(0.05)
        assert len(pids) == 2
        assert not any(map(lives, pids))


@pytest.mark.slow
def test_a_script_that_ends_ends_its_workers_without_a_word(tmp_path):
    with script(tmp_path, FORK, 0) as (process, pids):
        os.kill(pids[0], signal.SIGSTOP)
        assert process.communicate(timeout=5) == (b"", b"")
        assert process.returncode == 0
        assert not any(map(lives, pids))


@pytest.mark.parametrize(
    "work", [partial(endless, size=LARGE), partial(endless, hangs_at=1)], ids=["fast", "stuck"]
)
def test_closing_is_quick_silent_and_leaves_no_process(work, capfd):
    with pool_of(work, workers=4) as pool:
        pids = pids_of(pool, 4)
        begun = time.monotonic()
        pool.close()
        pool.close()
        assert time.monotonic() - begun < 1
        assert not any(map(lives, pids))
        assert list(pool) == []
    assert capfd.readouterr() == ("", "")


def tidy(worker, workers, *, noted):
    try:
        yield from endless(worker, workers, size=LARGE)
    finally:
        noted[worker] += 1


def test_workers_of_a_closed_pool_end_by_themselves_where_they_can():
    noted = torch.zeros(3, dtype=torch.int64).share_memory_()
    with pool_of(partial(tidy, noted=noted), workers=3) as pool, pool_of(endless, workers=1):
        pids_of(pool)
        pool.close()
        assert noted.tolist() == [1, 1, 1]


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_a_dropped_pool_ends_its_workers(in_a_cycle):
    pool = WorkerPool(endless, workers=2, timeout=30, seed=0, method=FORK)
    pids = pids_of(pool)
    if in_a_cycle:
        pool.itself = pool
        del pool
        gc.collect()
    else:
        del pool
    assert not any(map(lives, pids))


def test_closing_from_another_thread_ends_an_iteration_that_waits():
    with pool_of(partial(endless, hangs_at=1)) as pool:
        pids_of(pool)
        closing = threading.Timer(0.2, pool.close)
        closing.start()
        begun = time.monotonic()
        assert list(pool) == []
        closing.join()
        assert time.monotonic() - begun < 1.5


CTRL_C = """
import os, signal, threading
from functools import partial
from pools import endless, lives, pids_of, pool_of

if __name__ == "__main__":
    with pool_of(partial(endless, hangs_at=2)) as pool:
        pids = pids_of(pool)
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        assert pids_of(pool) == pids
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            next(pool)
        except KeyboardInterrupt:
            print("interrupted", any(map(lives, pids)))
"""


@pytest.mark.slow
def test_ctrl_c_leaves_the_workers_to_the_main_process(tmp_path):
    """In a process of its own, whose interrupt nobody else hears."""
    (tmp_path / "script.py").write_text(CTRL_C)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "script.py")]
    run = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert run.stdout == b"interrupted False\n"


def test_a_worker_has_no_handler_of_the_main_process():
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with pool_of(endless) as pool:
            os.kill(pids_of(pool)[1], signal.SIGTERM)
            with pytest.raises(
                WorkerError, match=r"was killed by signal 15 \(SIGTERM\): another process ended it"
            ):
                list(pool)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_that_cannot_be_started_are_told():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
    try:
        with pytest.raises(
            WorkerError, match=r"worker 0 of 9 cannot be started: .*Too many open files; use fewer"
        ):
            WorkerPool(endless, workers=9, timeout=30, seed=0, method=FORK)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_worker_has_no_workers():
    def work(worker, workers):
        yield from WorkerPool(endless, workers=1, timeout=30, seed=0, method=FORK)

    with pool_of(work) as pool, pytest.raises(WorkerError, match="worker 0 of 1 cannot be started: a daemon"):
        next(pool)
