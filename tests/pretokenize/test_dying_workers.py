"""Workers that are killed or stopped, a main process that is, and a run that is left early."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workers import children, is_running, needs_proc, wait_until

from fastcollate import WorkerError, prepare
from fastcollate.pretokenize.engines.engine import in_order
from fastcollate.pretokenize.engines.processes import Processes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


def doubled(number):
    yield 2 * number


def endless(ready):
    """Records without end; `ready` is called once some are on their way."""
    for i in itertools.count():
        if i == 20_000:
            ready()
        yield {"text": str(i)}


@needs_proc
def test_a_killed_worker_is_our_error_and_the_others_end(out):
    killed = []

    def kill():
        killed.append(children()[0])
        os.kill(killed[0], signal.SIGKILL)

    message = "a worker process died: it ran out of memory, or was killed; set workers=1 to stay in one process"
    with pytest.raises(WorkerError, match=message):
        prepare(endless(kill), out, encoding="bytes", template="text", workers=2)
    assert killed
    assert not children()
    assert not out.exists()


def long_after_the_first(number):
    time.sleep(0.5 if number else 0)
    yield bytes(20_000_000 if number else 0)


@needs_proc
def test_a_worker_killed_while_it_answers_is_our_error():
    results = in_order(Processes(2, timeout=60).run(long_after_the_first, [0, 1]))
    assert next(results) == b""
    time.sleep(1.5)  # the second answer is on its way, and waits to be read
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="a worker process died: it ran out of memory, or was killed"):
        next(results)


@pytest.mark.slow
@needs_proc
def test_stopped_workers_are_our_error_after_the_timeout(out):
    def stop():
        for pid in children():
            os.kill(pid, signal.SIGSTOP)

    begun = time.monotonic()
    message = (
        r"worker process \d+ has not answered for 2 seconds: it is stopped or stuck, .* raise timeout=, or set"
    )
    with pytest.raises(WorkerError, match=message):
        prepare(endless(stop), out, encoding="bytes", template="text", workers=2, timeout=2)
    assert time.monotonic() - begun < 20
    assert not children()
    assert not out.exists()


ENDLESS = """
import itertools
from fastcollate import prepare
from fastcollate.pretokenize import work
work._ALONE_SECONDS = None
records = ({"text": str(i)} for i in itertools.count())
prepare(records, OUTPUT, encoding="bytes", template="text", workers=2, records_per_shard=1000)
"""


@needs_proc
def test_workers_end_with_a_main_process_that_is_killed(out):
    program = ENDLESS.replace("OUTPUT", repr(str(out)))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as process:
        wait_until((out / "task-00000-00005.arrow").exists, limit=60)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
    wait_until(lambda: not [pid for pid in workers if is_running(pid)], limit=5)


@needs_proc
def test_a_run_left_early_ends_its_workers():
    results = in_order(Processes(2, timeout=60).run(doubled, itertools.count()))
    assert [next(results), next(results)] == [0, 2]
    assert len(children()) == 2
    results.close()
    assert not children()
