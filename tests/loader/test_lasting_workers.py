"""The workers of a loader read epoch after epoch, while dataset and collator stay as they were."""

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from pools import FORK, METHODS, lives, pool_of

from fastcollate import BucketedDataset, PackedDataset, PackingCollator, PaddingCollator, Ragged, StreamLoader
from fastcollate.loader.workers import WorkerPool

pytestmark = pytest.mark.usefixtures("nothing_is_left")
ROWS = Ragged.from_rows([[i % 250] * (i * 7919 % 23 + 1) for i in range(300)])
OTHERS = Ragged.from_rows([[i % 90] * (i * 104729 % 17 + 1) for i in range(300)])


def rows(**world):
    return BucketedDataset(ROWS, batch_size=7, window=100, **world)


def packs():
    return PackedDataset(ROWS, length=64, batch_size=2, window=100)


def loader_of(dataset=None, collate_fn=None, workers=2, **arguments):
    return StreamLoader(dataset or rows(), collate_fn or PaddingCollator(0), num_workers=workers, **arguments)


def tensors(loader):
    return [{name: tensor.tolist() for name, tensor in batch.items()} for batch in loader]


def pids():
    return {child.pid for child in multiprocessing.active_children()}


def no_longer(numbers, seconds=5):
    end = time.monotonic() + seconds
    while any(map(lives, numbers)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(lives, numbers))


@pytest.mark.parametrize(
    "arguments", [{}, {"device": "meta"}, {"device": "meta", "transfer": "ragged"}], ids=["cpu", "meta", "ragged"]
)
@pytest.mark.parametrize(
    ("dataset", "collate"), [(rows, PaddingCollator(0)), (packs, PackingCollator(0))], ids=["rows", "packs"]
)
def test_every_epoch_comes_whole_from_the_same_processes(dataset, collate, arguments):
    def about(loader):
        return [(batch.record_ids.tolist(), batch.num_tokens, batch["input_ids"].shape) for batch in loader]

    before, seen, alone = pids(), set(), StreamLoader(dataset(), collate, **arguments)
    with StreamLoader(dataset(), collate, num_workers=2, **arguments) as loader:
        for _ in range(3):
            if arguments:
                assert about(loader) == about(alone)
            else:
                assert tensors(loader) == tensors(alone)
            seen |= pids() - before
        assert loader.epoch == 3
    assert len(seen) == 2
    assert not any(map(lives, seen))


def test_positions_that_are_set_between_epochs_reach_the_workers():
    alone = loader_of(workers=0)
    epochs = [tensors(alone) for _ in range(3)]
    with loader_of() as loader:
        assert tensors(loader) == epochs[0]
        workers = pids()
        for taken in (4, len(epochs[1]) - 1):
            loader.load_state_dict({**loader.state_dict(), "epoch": 1, "batch": taken})
            assert tensors(loader) == epochs[1][taken:]
        loader.dataset.set_epoch(0)
        assert tensors(loader) == epochs[0]
        assert loader.state_dict()["epoch"] == 1
        assert pids() == workers


def test_what_was_left_early_goes_on_in_new_processes():
    first, second = (tensors(part) for part in [loader_of(workers=0)] * 2)
    with loader_of() as loader:
        batches = iter(loader)
        assert tensors(next(batches) for _ in range(5)) == first[:5]
        left = pids()
        del batches
        assert not any(map(lives, left))
        assert tensors(loader) == first[5:]
        again = pids()
        batches = iter(loader)
        assert tensors(next(batches) for _ in range(5)) == second[:5]
        assert pids() == again
        loader.load_state_dict({**loader.state_dict(), "batch": 2})
        assert tensors(batches) == second[2:]


def change_corpus(loader):
    loader.dataset.corpus = BucketedDataset(OTHERS, batch_size=7).corpus


def change_argument(loader):
    loader.collate_fn.max_length = 9


@pytest.mark.parametrize("change", [change_corpus, change_argument])
def test_what_is_changed_between_epochs_is_noticed(change):
    alone, loader = loader_of(workers=0), loader_of()
    assert tensors(loader) == tensors(alone)
    before = pids()
    for each in (alone, loader):
        change(each)
    assert tensors(loader) == tensors(alone)
    assert not pids() & before
    loader.close()


class Cut(PaddingCollator):
    """A collator that follows something which no attribute tells."""

    width = 99

    def fill(self, parcel, allocate):
        self.max_length = Cut.width
        return super().fill(parcel, allocate)


def test_a_collator_of_ones_own_has_new_processes_for_each_epoch(monkeypatch):
    loader = loader_of(collate_fn=Cut(0))
    assert max(batch["input_ids"].shape[1] for batch in loader) == 23
    assert pids() == set()
    monkeypatch.setattr(Cut, "width", 5)
    assert max(batch["input_ids"].shape[1] for batch in loader) == 5


def test_a_worker_that_died_between_epochs_is_replaced():
    alone = loader_of(workers=0)
    with loader_of() as loader:
        assert tensors(loader) == tensors(alone)
        victim = min(pids())
        os.kill(victim, signal.SIGKILL)
        while victim in pids():
            time.sleep(0.01)
        assert tensors(loader) == tensors(alone)
        assert victim not in pids()
        assert len(pids()) == 2


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_a_dropped_loader_ends_its_workers(in_a_cycle):
    loader = loader_of()
    tensors(loader)
    workers = pids()
    if in_a_cycle:
        loader.itself = loader
    del loader
    gc.collect()
    assert len(workers) == 2
    assert not any(map(lives, workers))


SCRIPT = """
import multiprocessing, sys
from fastcollate import BucketedDataset, PaddingCollator, Ragged, StreamLoader
rows = Ragged.from_rows([[1, 2, 3]] * 64)
loader = StreamLoader(BucketedDataset(rows, batch_size=4), PaddingCollator(0), num_workers=2)
print(len(list(loader)), *(child.pid for child in multiprocessing.active_children()), flush=True)
if "wait" in sys.argv:
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["killed", "done"])
def test_waiting_workers_end_with_their_parent(ending):
    command = [sys.executable, "-c", SCRIPT, *(["wait"] if ending == "killed" else [])]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        count, *workers = map(int, process.stdout.readline().split())
        assert (count, len(workers)) == (16, 2)
        if ending == "killed":
            assert all(map(lives, workers))
            process.kill()
        assert process.communicate(timeout=10) == (b"", b"")
    assert no_longer(workers)


def test_a_forked_process_has_workers_of_its_own():
    alone = loader_of(workers=0)
    epochs = [tensors(alone) for _ in range(3)]
    with loader_of() as loader:
        assert tensors(loader) == epochs[0]
        child = os.fork()
        if child == 0:
            same = tensors(loader) == epochs[1]
            loader.close()
            os._exit(0 if same else 1)
        assert tensors(loader) == epochs[1]
        assert os.waitpid(child, 0)[1] == 0
        assert tensors(loader) == epochs[2]


def drawing(worker, workers, start=0):
    yield start + worker, os.getpid(), random.random()


@pytest.mark.parametrize("method", [FORK, *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS[1:])])
def test_a_pool_does_its_work_again_and_draws_by_the_seed(method):
    pool = WorkerPool(drawing, workers=2, timeout=60, seed=5, method=method, stays=True)
    first = list(pool)
    assert pool.again(5, 10)
    assert not pool.again(5)
    second = list(pool)
    assert pool.again(6)
    third = list(pool)
    assert [item[0] for item in first + second + third] == [0, 1, 10, 11, 0, 1]
    assert [item[1:] for item in first] == [item[1:] for item in second]
    assert [item[1] for item in first] == [item[1] for item in third]
    assert all(a[2] != b[2] for a, b in zip(first, third, strict=True))
    pool.close()
    assert not pool.again(7)


def test_a_pool_that_does_not_stay_ends_after_its_last_item():
    with pool_of(partial(drawing, start=3)) as pool:
        numbers = [item[1] for item in pool]
        assert not any(map(lives, numbers))
        assert not pool.again(1)


def test_workers_that_wait_to_be_told_end_at_once():
    pool = WorkerPool(drawing, workers=2, timeout=60, seed=5, method=FORK, stays=True)
    numbers = [item[1] for item in pool]
    time.sleep(0.1)
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < 0.35
    assert not any(map(lives, numbers))
