"""Epochs as trainers run them: counted, copied, with workers; no batch is lost and no generator is drawn from."""

import copy
import multiprocessing
import os
import pickle
import random
import signal
import time

import numpy as np
import pytest
import torch
from stores import write_store

from fastcollate import (
    BucketedDataset,
    InputError,
    PaddingCollator,
    PlanError,
    StoreChangedError,
    StoreWriter,
    StreamLoader,
    TokenStore,
    WorkerError,
)


def ids(batches):
    return [batch.record_ids.tolist() for batch in batches]


def make(store, **arguments):
    return StreamLoader(BucketedDataset(store, batch_size=50), PaddingCollator(256), **arguments)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_consumer_that_counts_loses_no_epoch(store, workers):
    whole, loader = make(store), make(store, num_workers=workers)
    for _ in range(4):
        batches = iter(loader)
        assert ids(next(batches) for _ in range(len(loader))) == ids(whole)
    assert loader.dataset.epoch == 4


def test_the_datasets_own_state_counts_what_the_loader_delivered(store):
    loader = make(store, device="meta", prefetch=8)
    for number, _ in enumerate(loader, 1):
        assert loader.dataset.state_dict() == loader.state_dict()
        assert loader.state_dict()["batch"] == number
        if number == 5:
            break
    loader.dataset.load_state_dict({**loader.state_dict(), "batch": 17})
    assert ids(loader) == ids(make(store))[17:]


def test_a_state_loaded_into_the_dataset_moves_the_loader_in_use(store):
    whole = ids(make(store))
    for device in ("cpu", "meta"):
        loader = make(store, device=device)
        batches = iter(loader)
        for _ in range(9):
            next(batches)
        loader.dataset.load_state_dict({**loader.state_dict(), "batch": 3})
        assert loader.state_dict()["batch"] == 3
        assert ids(batches) == whole[3:]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_copied_loader_goes_on_by_itself(store, duplicate):
    whole, loader = ids(make(store)), make(store, prefetch=3, num_workers=0, timeout=9)
    batches = iter(loader)
    next(batches)
    other = duplicate(loader)
    assert ids(batches) == ids(other) == whole[1:]
    assert (other.prefetch, other.timeout, other.device, other.transfer) == (3, 9.0, loader.device, "padded")
    assert other.dataset is not loader.dataset


@pytest.mark.parametrize("workers", [0, 2])
def test_no_generator_of_this_process_is_drawn_from(store, workers):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    list(make(store, num_workers=workers))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def process_ids(rows):
    time.sleep(0.005)  # so that no worker is done before it is killed
    return {"input_ids": torch.tensor([[os.getpid()]])}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signals here")
def test_a_killed_and_a_stopped_worker_are_named(store):
    dataset = BucketedDataset(store, batch_size=2)
    for fault, message in ((signal.SIGKILL, "signal 9"), (signal.SIGSTOP, "for 1 s")):
        loader = StreamLoader(dataset, process_ids, num_workers=2, timeout=1)
        batches = iter(loader)
        victim = int(next(batches)["input_ids"][0, 0])
        begun = time.monotonic()
        os.kill(victim, fault)
        with pytest.raises(WorkerError, match=rf"worker 0 of 2 \(pid {victim}\).*{message}"):
            list(batches)
        assert time.monotonic() - begun < 5


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signals here")
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_closing_does_not_wait_for_a_stopped_worker(store, device):
    loader = StreamLoader(BucketedDataset(store, batch_size=2), process_ids, num_workers=2, device=device)
    batches = iter(loader)
    next(batches)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGSTOP)
    time.sleep(0.1)
    begun = time.monotonic()
    loader.close()
    assert time.monotonic() - begun < 3
    assert multiprocessing.active_children() == []
    assert next(batches, None) is None


def test_a_store_replaced_under_spawned_workers_is_our_error(tmp_path, monkeypatch):
    loader = StreamLoader(BucketedDataset(write_store(tmp_path / "s", [3] * 9), batch_size=2), PaddingCollator(0))
    assert len(list(loader)) == 5  # which maps all files
    other = pickle.loads(pickle.dumps(loader))
    for path in (tmp_path / "s").iterdir():
        path.unlink()
    (tmp_path / "s").rmdir()
    write_store(tmp_path / "s", [4] * 9)
    with pytest.raises(StoreChangedError, match="was replaced by another store"):
        list(other)
    with pytest.raises(StoreChangedError, match=r"bytes where it had .* while it was read"):
        list(loader)


def test_copies_of_a_store_check_as_much_as_the_original(tmp_path):
    write_store(tmp_path / "s", [3] * 9, layout="npy")
    for verify, wrong in (("index", "shard-00000.offsets.npy"), ("full", "shard-00000.input_ids.npy")):
        sent = pickle.dumps(TokenStore(tmp_path / "s", verify=verify))
        path = tmp_path / "s" / wrong
        right = path.read_bytes()
        path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        with pytest.raises(Exception, match="shard-00000"):
            pickle.loads(sent)[0]
        path.write_bytes(right)
        assert len(pickle.loads(sent)[0]) == 3


def test_numpys_integers_are_taken_at_every_door_and_booleans_at_none(store, tmp_path):
    two = np.int64(2)
    with StoreWriter(tmp_path / "s", encoding="bytes", records_per_shard=two) as writer:
        writer.append(store.take(np.arange(5)))
    dataset = BucketedDataset(TokenStore(tmp_path / "s"), batch_size=two, rank=np.int64(0), world_size=np.int64(1))
    loader = StreamLoader(dataset, PaddingCollator(two, max_length=two), prefetch=two, num_workers=np.int64(0))
    assert len(list(loader)) == 3
    for refused in (
        lambda: StreamLoader(dataset, PaddingCollator(0), prefetch=True),
        lambda: StreamLoader(dataset, PaddingCollator(0), num_workers=True),
        lambda: StreamLoader(dataset, PaddingCollator(0), timeout=True),
        lambda: StreamLoader(dataset, PaddingCollator(0), timeout=0),
        lambda: StoreWriter(tmp_path / "t", encoding="bytes", records_per_shard=True),
    ):
        with pytest.raises(InputError, match=r" is (True|0): it must be a"):
            refused()
    for name in ("shuffle", "drop_last", "longest_first"):
        with pytest.raises(PlanError, match=f"{name} is 'no': it must be True or False"):
            BucketedDataset(store, batch_size=2, **{name: "no"})


def test_what_a_user_prints_says_what_it_is(store):
    shown = repr(make(store, device="meta", num_workers=0))
    for part in (
        "StreamLoader(BucketedDataset(TokenStore(",
        "1003 records, 'bytes'), plan='row buckets', batch_size=50",
        "seed=0, rank 0 of 1), PaddingCollator(",
        "pad_token_id=256",
        "device='meta', transfer='padded')",
    ):
        assert part in shown
    assert "(object at 0x" not in shown
