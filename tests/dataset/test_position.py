"""Where a pass begins: it moves with what was delivered, in one process, its workers and its forks."""

import copy
import gc
import json
import os
import pickle
import time
import weakref

import numpy as np
import pytest
import torch
from stores import write_store
from torch.utils.data import DataLoader

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PaddingCollator,
    PlanError,
    Ragged,
    StateError,
    StoreChangedError,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def ids_of(batches):
    return [batch.record_ids.tolist() for batch in batches]


def epochs_of(store, count, **arguments):
    dataset = BucketedDataset(store, batch_size=100, **arguments)
    return [ids_of(dataset) for _ in range(count)]


def loader_of(dataset, workers, **arguments):
    return DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=PaddingCollator(256), **arguments)


def test_beginning_an_iteration_moves_nothing(store):
    whole = epochs_of(store, 1)[0]
    dataset = BucketedDataset(store, batch_size=100)
    iterator = iter(dataset)
    for _ in range(3):
        next(iterator)
    dataset = copy.copy(dataset)
    iter(dataset)
    iter(dataset)
    assert dataset.state_dict()["batch"] == 3
    assert ids_of(dataset) == whole[3:]


def test_a_pass_left_early_goes_on_and_a_whole_one_is_followed_by_the_next_epoch(store):
    epochs = epochs_of(store, 3)
    dataset = BucketedDataset(store, batch_size=100)
    seen = [next(batches).record_ids.tolist() for batches in [iter(dataset)] for _ in range(4)]
    assert (dataset.epoch, dataset.state_dict()["batch"]) == (0, 4)
    assert seen + ids_of(dataset) == epochs[0]
    assert (dataset.epoch, dataset.state_dict()["batch"]) == (1, 0)
    iterator = iter(dataset)  # whose end is never met
    assert [next(iterator).record_ids.tolist() for _ in range(len(dataset))] == epochs[1]
    assert dataset.epoch == 2
    assert ids_of(dataset) == epochs[2]


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_nobody_needs_set_epoch_to_train_in_another_order(store, workers, persistent):
    dataset = BucketedDataset(store, batch_size=100)
    loader = loader_of(dataset, workers, persistent_workers=persistent)
    assert [ids_of(loader) for _ in range(3)] == epochs_of(store, 3)
    assert dataset.epoch == 3


def test_an_evaluation_set_stays_in_one_order_by_set_epoch(store):
    whole = epochs_of(store, 1)[0]
    for workers in (0, 2):
        dataset = BucketedDataset(store, batch_size=100)
        loader = loader_of(dataset, workers)
        for taken in (3, 5, len(whole)):
            dataset.set_epoch(0)
            assert ids_of(batch for batch, _ in zip(loader, range(taken), strict=False)) == whole[:taken]


def test_the_number_of_workers_may_change_between_passes(store):
    dataset = BucketedDataset(store, batch_size=100)
    assert [ids_of(loader_of(dataset, workers)) for workers in (2, 3, 0, 1, 2)] == epochs_of(store, 5)


def test_passes_that_are_seeded_alike_are_told_apart(store):
    dataset = BucketedDataset(store, batch_size=100)
    found = []
    for _ in range(3):
        torch.manual_seed(0)
        found.append(ids_of(loader_of(dataset, 2)))
    assert found == epochs_of(store, 3)


def test_the_main_process_says_that_it_does_not_know_how_far_workers_are(store):
    dataset = BucketedDataset(store, batch_size=20)
    loader = loader_of(dataset, 2)
    batches = iter(loader)
    next(batches)
    with pytest.raises(
        StateError, match="the main process does not know how many of their batches were delivered"
    ):
        dataset.state_dict()
    list(batches)
    del batches
    assert (dataset.state_dict()["epoch"], dataset.state_dict()["batch"]) == (1, 0)


def test_workers_that_were_left_half_way_leave_no_state(store):
    dataset = BucketedDataset(store, batch_size=20)
    batches = iter(loader_of(dataset, 2))
    next(batches)
    del batches
    gc.collect()
    with pytest.raises(
        StateError, match="the main process does not know how many of their batches were delivered"
    ):
        dataset.state_dict()
    dataset.set_epoch(5)
    assert (dataset.state_dict()["epoch"], dataset.state_dict()["batch"]) == (5, 0)


def test_passes_of_workers_come_after_a_batch_taken_in_the_main_process(store):
    dataset = BucketedDataset(store, batch_size=100)
    next(iter(dataset))
    for epoch in (1, 2):
        list(loader_of(dataset, 2))
        assert dataset.epoch == epoch
        assert (dataset.state_dict()["epoch"], dataset.state_dict()["batch"]) == (epoch, 0)


def test_a_step_that_is_dropped_on_another_world_size_is_no_pass_of_its_own():
    rows = Ragged.from_rows([[1] * (i % 5 + 1) for i in range(14)])
    state = BucketedDataset(rows, batch_size=2, drop_last=True).state_dict()
    dataset = BucketedDataset(rows, batch_size=2, drop_last=True, rank=0, world_size=2)
    dataset.load_state_dict(state)
    batches = iter(dataset)
    for _ in range(len(dataset)):
        next(batches)
    assert dataset.epoch == 1
    assert [len(list(dataset)) for _ in range(2)] == [3, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_every_forked_process_resumes_where_the_loaded_state_is(store, tmp_path):
    whole = epochs_of(store, 2)
    dataset = BucketedDataset(store, batch_size=100)
    batches = iter(dataset)
    for _ in range(4):
        next(batches)
    forked = BucketedDataset(store, batch_size=100)
    forked.load_state_dict(dataset.state_dict())
    children = []
    for number in range(2):
        if not (child := os.fork()):
            found = [ids_of(forked), ids_of(loader_of(forked, number * 2))]
            (tmp_path / f"{number}.json").write_text(json.dumps(found))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    expected = [whole[0][4:], whole[1]]
    assert [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)] == [expected] * 2
    assert ids_of(forked) == whole[0][4:]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_copy_begins_where_the_original_is_and_carries_no_records(tmp_path, duplicate):
    store = write_store(tmp_path / "store", [50] * 3000, records_per_shard=1000)
    dataset = BucketedDataset(store, batch_size=100)
    batches = iter(dataset)
    next(batches)
    assert len(pickle.dumps(dataset)) < 50_000
    other = duplicate(dataset)
    rest = ids_of(batches)
    assert ids_of(other) == rest
    assert len(rest) == 29


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_a_store_replaced_under_spawned_workers_is_told_in_the_main_process(tmp_path, layout):
    dataset = BucketedDataset(write_store(tmp_path / "store", [3] * 50, layout=layout), batch_size=5)
    for path in (tmp_path / "store").iterdir():
        path.unlink()
    (tmp_path / "store").rmdir()
    write_store(tmp_path / "store", [4] * 50, layout=layout)
    with pytest.raises(StoreChangedError, match="was replaced by another store"):
        list(loader_of(dataset, 1, multiprocessing_context="spawn"))


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: BucketedDataset(rows, batch_size=8, drop_last=True, rank=0, world_size=4),
        lambda rows: BucketedDataset(rows, max_tokens=64, drop_last=True, rank=0, world_size=4),
        lambda rows: PackedDataset(rows, length=512, batch_size=4, drop_last=True, rank=0, world_size=4),
    ],
)
def test_an_epoch_without_batches_says_so(make):
    dataset = make(Ragged.from_rows([[1, 2, 3, 4, 5]] * 20))
    assert len(dataset) == 0
    with pytest.raises(PlanError, match=r"the epoch has no batches: 20 records do not fill a step of 4 rank\(s\)"):
        list(dataset)


def test_rows_in_memory_are_a_corpus_like_a_store(tmp_path):
    lengths = (np.arange(300) * 7919 % 40 + 1).tolist()
    rows = Ragged.from_rows([[i % 250] * n for i, n in enumerate(lengths)], np.uint16)
    store = write_store(tmp_path / "store", lengths, records_per_shard=100)
    for arguments in ({"batch_size": 7}, {"max_tokens": 99, "max_length": 20}):
        ours, theirs = BucketedDataset(rows, **arguments), BucketedDataset(store, **arguments)
        assert ids_of(ours) == ids_of(theirs)
    with pytest.raises(PlanError, match="the corpus is a list: open one with TokenStore"):
        BucketedDataset([[1, 2]], batch_size=1)


class SleepyFirstWorker:
    def __call__(self, worker):
        if worker == 0:
            time.sleep(1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_passes_of_other_worker_counts_that_are_seeded_alike_are_told_apart(store, method):
    dataset = BucketedDataset(store, batch_size=100)
    found = []
    for workers in (1, 2, 3, 1):
        loader = loader_of(
            dataset,
            workers,
            generator=torch.Generator().manual_seed(7),
            worker_init_fn=SleepyFirstWorker() if workers == 2 else None,
            multiprocessing_context=method,
        )
        found.append(ids_of(loader))
    assert found == epochs_of(store, 4)


def test_a_dataset_that_is_dropped_gives_its_memory_back_at_once(store):
    dataset = BucketedDataset(store, batch_size=100)
    list(dataset)
    batches = iter(dataset)
    next(batches)
    gc.disable()
    try:
        block = weakref.ref(dataset._place._own)
        del dataset, batches
        assert block() is None
    finally:
        gc.enable()
