"""Engines: the same results in the same order, wherever the caller's program came from and however a run ends."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from workers import children, is_running, needs_proc, wait_until

from fastcollate import WorkerError, prepare
from fastcollate.pretokenize.engines import Processes, ThisProcess
from fastcollate.templates.segments import Document, Segment

ROOT = Path(__file__).parents[2]
RECORDS = [{"text": str(i)} for i in range(3000)]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


# Order


def double(number):
    time.sleep(0.02 if number % 5 == 0 else 0)
    return 2 * number


@pytest.mark.parametrize("engine", [ThisProcess(), Processes(2, timeout=60), Processes(3, timeout=60, spared=4)])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 40])
def test_results_come_in_the_order_of_the_tasks(engine, count):
    assert list(engine.run(double, range(count))) == [2 * number for number in range(count)]


@pytest.mark.parametrize("workers", [2, 3])
def test_at_most_two_tasks_a_worker_are_in_flight(workers):
    read = []
    tasks = (read.append(i) or i for i in range(40))
    for done, result in enumerate(Processes(workers, timeout=60).run(double, tasks), 1):
        assert result == 2 * (done - 1)
        assert len(read) - done < 2 * workers


@needs_proc
def test_no_worker_starts_without_a_task():
    results = Processes(3, timeout=60).run(double, range(2))
    assert next(results) == 0
    assert len(children()) == 2
    assert list(results) == [2]
    assert not children()


def test_few_tasks_start_no_process(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    assert list(Processes(2, timeout=60, spared=3).run(abs, [-1, -2, -3])) == [1, 2, 3]


@needs_proc
def test_a_process_starts_once_so_much_is_done():
    results = Processes(2, timeout=60, spared=7, size=abs).run(double, [1, -2, 3, 4])
    assert [next(results), next(results)] == [2, -4]
    assert not children()  # 6 of 7 are done
    assert next(results) == 6
    assert not children()
    assert next(results) == 8
    assert len(children()) == 1
    assert list(results) == []


# How a run ends


def test_an_error_of_the_work_is_the_same_everywhere():
    for engine in (ThisProcess(), Processes(2, timeout=60)):
        with pytest.raises(ZeroDivisionError):
            list(engine.run((1).__truediv__, [1, 0]))


def fail_oddly(_):
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    raise OddError(1, 2)


def test_an_error_that_cannot_travel_is_told():
    with pytest.raises(WorkerError, match=r"^OddError in a worker process: 1 and 2$"):
        list(Processes(2, timeout=60).run(fail_oddly, [1]))


def test_an_error_of_the_work_says_where_it_arose():
    with pytest.raises(ZeroDivisionError) as caught:
        list(Processes(2, timeout=60).run((1).__truediv__, [0]))
    (note,) = caught.value.__notes__
    assert note.startswith("In a worker process:\nTraceback")


class UnloadableError(Exception):
    def __reduce__(self):
        return __import__, ("a_module_that_is_nowhere",)


def test_what_cannot_be_loaded_is_named():
    tail = r" cannot be loaded in a worker process \(No module named 'a_module_that_is_nowhere'\); set workers=1"
    with pytest.raises(WorkerError, match=f"^a record{tail}"):
        list(Processes(2, timeout=60).run(id, [1, UnloadableError()]))
    with pytest.raises(WorkerError, match=f"^the template or the encoding{tail}"):
        list(Processes(2, timeout=60).run(UnloadableError(), [1]))


class Unsendable:
    name, fingerprint = "unsendable", "0" * 64

    def __init__(self):
        self.lock = threading.Lock()

    def documents(self, record):
        return [Document([Segment(record["text"])])]


def test_what_cannot_be_sent_is_named(out):
    options = {"encoding": "bytes", "workers": 2}
    message = (
        r"the template or the encoding cannot be sent to a worker process \(.*lock.*\); set workers=1 to stay"
    )
    with pytest.raises(WorkerError, match=message):
        prepare(RECORDS, out, template=Unsendable(), **options)
    message = r"a record cannot be sent to a worker process \(.*\); set workers=1 to stay in one process"
    with pytest.raises(WorkerError, match=message):
        prepare([*RECORDS, {"text": "a", "lock": threading.Lock()}], out, template="text", **options)
    assert not out.exists()
    assert not children()


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
    return bytes(20_000_000 if number else 0)


@needs_proc
def test_a_worker_killed_while_it_answers_is_our_error():
    results = Processes(2, timeout=60).run(long_after_the_first, [0, 1])
    assert next(results) == b""
    time.sleep(0.5)  # the second answer is on its way, and waits to be read
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
records = ({"text": str(i)} for i in itertools.count())
prepare(records, OUTPUT, encoding="bytes", template="text", workers=2, records_per_shard=1000)
"""


@needs_proc
def test_workers_end_with_a_main_process_that_is_killed(out):
    program = ENDLESS.replace("OUTPUT", repr(str(out)))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as process:
        wait_until((out / "shard-00005.arrow").exists, limit=60)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
    wait_until(lambda: not [pid for pid in workers if is_running(pid)], limit=5)


@needs_proc
def test_a_run_left_early_ends_its_workers():
    results = Processes(2, timeout=60).run(double, itertools.count())
    assert [next(results), next(results)] == [0, 2]
    assert len(children()) == 2
    results.close()
    assert not children()
