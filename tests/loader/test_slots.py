"""Batches that workers fill lie in memory that is used again, and never while anybody can see it."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pools import FORK, METHODS, lives

from fastcollate import BucketedDataset, PaddingCollator, Ragged, StreamLoader
from fastcollate.loader import slots
from fastcollate.loader.workers import WorkerPool

pytestmark = pytest.mark.skipif(not slots.can_share(), reason="this system has no anonymous files")
COUNT = 20_000  # values of an item: more than a page


def numbered(worker, workers, allocate, *, items=12):
    """Arrays that lie in slots, all of whose values are the number of the item."""
    for number in range(worker, items, workers):
        array = allocate({"values": ((COUNT,), np.int64)})["values"]
        array.fill(number)
        yield array


def slot_of(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("method", METHODS)
def test_items_in_slots_arrive_as_they_were(method):
    pool = WorkerPool(numbered, workers=2, timeout=60, seed=0, method=method, shares=True)
    found = [int(array[0]) for array in pool if np.array_equal(array, np.full(COUNT, array[0]))]
    assert found == list(range(12))


def test_items_that_are_kept_stay_as_they_are_and_others_take_turns():
    with_all_kept = list(WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True))
    assert [array.tolist() for array in with_all_kept] == [[i] * COUNT for i in range(12)]
    assert len({slot_of(array) for array in with_all_kept}) == 12
    places = set()
    for array in WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True):
        places.add(slot_of(array))
        part = array[5:]
        del array
        assert part[0] == part[-1]
    assert len(places) <= 6


def test_a_slot_is_in_use_as_long_as_any_view_of_it():
    pool = WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    views = [torch.from_numpy(next(pool))[100:].view(-1, 10)[3:5] for _ in range(12)]
    assert [view.unique().tolist() for view in views] == [[i] for i in range(12)]
    pool.close()
    assert [view.unique().tolist() for view in views] == [[i] for i in range(12)]


def forked(ask, work):
    """The value of `work()` in a forked process, after `ask()` here."""
    begun, begin = os.pipe()
    answered, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(begun, 1)
        os.write(answer, bytes(work()))
        os._exit(0)
    ask()
    os.write(begin, b"\0")
    found = list(os.read(answered, 100))
    os.waitpid(child, 0)
    for end in (begun, begin, answered, answer):
        os.close(end)
    return found


def test_a_forked_process_keeps_what_it_sees():
    pool = WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    kept = [next(pool)]

    def go_on():
        kept.clear()
        assert [int(next(pool)[0]) for _ in range(11)] == list(range(1, 12))

    assert forked(go_on, lambda: sorted(set(kept[0].tolist()))) == [0]


def test_a_forked_process_writes_into_memory_of_its_own():
    pool = WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    next(pool)
    held = next(pool)
    view = torch.from_numpy(held)

    def changed():
        before = int(held[0])
        view.fill_(7)
        return [before, int(held[-1])]

    assert forked(lambda: view.fill_(9), changed) == [1, 7]
    assert held.tolist() == [9] * COUNT
    assert [int(next(pool)[0]) for _ in range(10)] == list(range(2, 12))


def test_forking_at_every_item_takes_no_more_slots():
    sizes = []
    pool = WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    for number, item in enumerate(pool):
        assert forked(lambda: None, lambda held=item: [int(held[0])]) == [number]
        sizes.append(sum(path.stat().st_size for path in files_of(os.getpid())))
    assert sizes[-1] == sizes[6]


def files_of(pid):
    """The anonymous files that a process has open."""
    paths = list(Path(f"/proc/{pid}/fd").iterdir())  # one of them is gone by then
    return [path for path in paths if path.exists() and "memfd:fastcollate" in str(path.readlink())]


def test_workers_of_another_pool_keep_no_memory_of_this_one():
    def ready(worker, workers, allocate):
        yield len({path.stat().st_ino for path in files_of(os.getpid())})
        yield from numbered(worker, workers, allocate)

    first = WorkerPool(numbered, workers=2, timeout=60, seed=0, method=FORK, shares=True)
    next(first)
    second = WorkerPool(ready, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    assert next(second) == 1
    first.close()
    second.close()


def test_a_closed_pool_closes_nothing_of_processes_that_begin_later():
    pool = WorkerPool(numbered, workers=2, timeout=60, seed=0, method=FORK, shares=True)
    readers = [worker.slots for worker in pool._workers]
    pool.close()
    ends = [end for _ in range(20) for end in os.pipe()]  # their numbers are the pool's of before
    process = multiprocessing.get_context(FORK).Process(target=lambda: [os.fstat(end) for end in ends])
    process.start()
    process.join()
    assert (process.exitcode, len(readers)) == (0, 2)
    for end in ends:
        os.close(end)


def test_a_pipe_that_nobody_reads_ends_no_process():
    code = """
import signal, time
from fastcollate import BucketedDataset, PaddingCollator, Ragged, StreamLoader
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
rows = Ragged.from_rows([[1, 2, 3]] * 8)
for batch in StreamLoader(BucketedDataset(rows, batch_size=4), PaddingCollator(0), num_workers=1):
    time.sleep(0.3)
print("whole")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout) == (0, "whole\n"), run.stderr


def test_a_worker_makes_a_few_items_ahead_and_no_more(tmp_path):
    def counted(worker, workers, allocate):
        for array in numbered(worker, workers, allocate):
            (tmp_path / str(array[0])).touch()
            yield array

    pool = WorkerPool(counted, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    next(pool)
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) <= 4
    pool.close()


def test_a_waiting_worker_ends_at_once():
    def own_number(worker, workers, allocate):
        for array in numbered(worker, workers, allocate, items=10**6):
            array[0] = os.getpid()
            yield array

    pool = WorkerPool(own_number, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    number = int(next(pool)[0])
    time.sleep(0.1)
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < 0.35
    assert not lives(number)


def test_where_memory_is_missing_items_travel(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    found = list(WorkerPool(numbered, workers=2, timeout=60, seed=0, method=FORK, shares=True))
    assert [array.tolist() for array in found] == [[i] * COUNT for i in range(12)]


def test_what_was_made_and_not_sent_gives_its_slot_back():
    def wasteful(worker, workers, allocate):
        for array in numbered(worker, workers, allocate, items=40):
            for _ in range(3):
                allocate({"values": ((COUNT,), np.int64)})
            yield array

    places = set()
    for array in WorkerPool(wasteful, workers=1, timeout=60, seed=0, method=FORK, shares=True):
        places.add(slot_of(array))
        assert array.min() == array.max()
    assert len(places) <= 24


@pytest.mark.parametrize("as_tuple", [False, True])
def test_every_batch_is_a_tensor_of_its_own(as_tuple):
    rows = Ragged.from_rows([list(range(1, 2 + i % 50)) for i in range(400)])
    collate = PaddingCollator(0, as_tuple=as_tuple)
    with StreamLoader(BucketedDataset(rows, batch_size=4), collate, num_workers=2) as loader:
        batches = list(loader)
    expected = [collate(batch) for batch in BucketedDataset(rows, batch_size=4)]
    for found, wanted in zip(batches, expected, strict=True):
        pairs = zip(found, wanted, strict=True) if as_tuple else ((found[name], wanted[name]) for name in wanted)
        for ours, theirs in pairs:
            assert torch.equal(ours, theirs)
            assert ours.untyped_storage().nbytes() == theirs.untyped_storage().nbytes()
            ours.add_(1)


def test_items_that_are_kept_keep_no_descriptors():
    pool = WorkerPool(numbered, workers=1, timeout=60, seed=0, method=FORK, shares=True)
    kept = [next(pool)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept += [next(pool) for _ in range(11)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    pool.close()
    assert [array.tolist() for array in kept] == [[i] * COUNT for i in range(12)]
