"""Engines: the same results in the same order, wherever the caller's program came from and however a run ends."""

import itertools
import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from workers import children, needs_proc

from fastcollate import WorkerError, prepare
from fastcollate.pretokenize.engines.engine import ThisProcess, in_order
from fastcollate.pretokenize.engines.processes import Processes
from fastcollate.templates.segments import Document, Segment

ROOT = Path(__file__).parents[2]
RECORDS = [{"text": str(i)} for i in range(3000)]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


# Order


def double(number):
    time.sleep(0.02 if number % 5 == 0 else 0)
    yield 2 * number


def results_of(engine, work, tasks):
    """The results in the order of the tasks, of work that gives one for each."""
    return in_order(engine.run(work, tasks))


class Each:
    """Work that gives what a function returns."""

    def __init__(self, function):
        self.function = function

    def __call__(self, task):
        yield self.function(task)


@pytest.mark.parametrize("engine", [ThisProcess(), Processes(2, timeout=60), Processes(3, timeout=60, alone=0)])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 40])
def test_results_come_in_the_order_of_the_tasks(engine, count):
    assert list(results_of(engine, double, range(count))) == [2 * number for number in range(count)]


@pytest.mark.parametrize("workers", [2, 3])
def test_at_most_two_tasks_a_worker_are_in_flight(workers):
    read = []
    tasks = (read.append(i) or i for i in range(40))
    for done, result in enumerate(results_of(Processes(workers, timeout=60), double, tasks), 1):
        assert result == 2 * (done - 1)
        assert len(read) - done < 2 * workers


@needs_proc
def test_no_worker_starts_without_a_task():
    results = results_of(Processes(3, timeout=60), double, range(2))
    assert next(results) == 0
    assert len(children()) == 2
    assert list(results) == [2]
    assert not children()


def test_few_tasks_start_no_process(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    assert list(results_of(Processes(2, timeout=60, alone=60), Each(abs), [-1, -2, -3])) == [1, 2, 3]


def where(seconds):
    time.sleep(seconds)
    yield os.getpid()


@needs_proc
def test_processes_start_after_a_while_and_this_one_goes_on_beside_them():
    results = results_of(Processes(3, timeout=60, alone=0.3), where, itertools.repeat(0.02))
    begun = time.monotonic()
    found = []
    while not children():
        found.append(next(results))
    assert time.monotonic() - begun >= 0.3
    assert len(children()) == 2
    while len(set(found)) < 3:
        found.append(next(results))
    assert time.monotonic() - begun < 60
    assert found[0] == os.getpid()
    assert {next(results) for _ in range(40)} == set(found)
    results.close()


@pytest.mark.parametrize(("seconds", "starts"), [(0.1, False), (0.4, True)])
def test_where_sizes_are_known_processes_start_for_much_alone(monkeypatch, seconds, starts):
    """Two seconds are worth it: after the first of ten tasks 1.8 are left, or 7.2."""

    class StartedError(Exception):
        pass

    def refuse(*_, **__):
        raise StartedError

    monkeypatch.setattr("subprocess.Popen", refuse)
    monkeypatch.setattr("time.monotonic", itertools.count(0, seconds).__next__)  # looked at after each task
    engine = Processes(2, timeout=60, alone=2.0, sizes=[5] * 10)
    done = []
    with nullcontext() if not starts else pytest.raises(StartedError):
        done.extend(engine.run(Each(abs), range(10)))
    assert done == [(i, i) for i in range(1 if starts else 10)]


def late_for_the_first(number):
    time.sleep(1 if number == 0 else 0)
    yield number


def test_a_slow_task_keeps_no_other_waiting():
    engine = Processes(2, timeout=60, each=1, window=40)
    assert [number for number, _ in engine.run(late_for_the_first, range(20))] == [*range(1, 20), 0]


def several(number):
    yield from [number] * number


def test_a_task_gives_as_many_results_as_it_likes():
    for engine in (ThisProcess(), Processes(2, timeout=60), Processes(2, timeout=60, alone=0)):
        assert sorted(engine.run(several, [0, 1, 2, 0, 3])) == [(1, 1), (2, 2), (2, 2), (4, 3), (4, 3), (4, 3)]


class Stumbling:
    """Work that fails for some tasks, sooner for later ones."""

    def __call__(self, number):
        yield number
        if number in (3, 4):
            time.sleep(1.0 if number == 3 else 0)
            raise KeyError(number)


def test_of_two_tasks_that_fail_the_first_is_told_and_none_before_it_is_lost():
    beside = Processes(3, timeout=60, alone=0, window=9)
    for engine in (ThisProcess(), Processes(2, timeout=60), Processes(2, timeout=60, each=1, window=9), beside):
        done = []
        with pytest.raises(KeyError, match="3"):
            done.extend(number for number, _ in engine.run(Stumbling(), range(9)))
        assert {0, 1, 2} <= set(done)


def readable_up_to(count):
    yield from range(count)
    raise OSError("the source broke")


def test_what_is_read_before_the_source_breaks_is_done():
    for engine in (ThisProcess(), Processes(2, timeout=60), Processes(2, timeout=60, alone=0)):
        done = []
        with pytest.raises(OSError, match="the source broke"):
            done.extend(results_of(engine, double, readable_up_to(3)))
        assert done == [0, 2, 4]


def patient(number):
    for i in range(8):
        time.sleep(0.5)
        yield i


def test_a_worker_that_gives_signs_is_not_stuck():
    assert len(list(Processes(1, timeout=3).run(patient, [0]))) == 8


# How a run ends


def test_an_error_of_the_work_is_the_same_everywhere():
    for engine in (ThisProcess(), Processes(2, timeout=60)):
        with pytest.raises(ZeroDivisionError):
            list(engine.run(Each((1).__truediv__), [1, 0]))


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
        list(Processes(2, timeout=60).run(Each((1).__truediv__), [0]))
    (note,) = caught.value.__notes__
    assert note.startswith("In a worker process:\nTraceback")


class UnloadableError(Exception):
    def __reduce__(self):
        return __import__, ("a_module_that_is_nowhere",)


def test_what_cannot_be_loaded_is_named():
    tail = r" cannot be loaded in a worker process \(No module named 'a_module_that_is_nowhere'\); set workers=1"
    with pytest.raises(WorkerError, match=f"^a record{tail}"):
        list(Processes(2, timeout=60).run(Each(id), [1, UnloadableError()]))
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
