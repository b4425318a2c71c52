"""A loaded state reaches `DataLoader` workers once, and copies of a dataset have positions of their own."""

import copy
import json
import pickle

import numpy as np
import pytest
from stores import write_store
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from fastcollate import (
    BucketedDataset,
    InputError,
    PaddingCollator,
    PlanError,
    StateError,
    StreamLoader,
    mix,
    prefetch_to_device,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:'set_vital' is deprecated")


def ids_of(batches):
    return [batch.record_ids.tolist() for batch in batches]


def state_after(store, taken):
    dataset = BucketedDataset(store, batch_size=100)
    iterator = iter(dataset)
    for _ in range(taken):
        next(iterator)
    return dataset.state_dict()


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True), (3, True)])
def test_a_loaded_state_is_resumed_once_and_the_next_pass_is_whole(store, workers, persistent):
    dataset = BucketedDataset(store, batch_size=100)
    everything, following = ids_of(dataset), ids_of(dataset)
    dataset.load_state_dict(state_after(store, 7))
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=PaddingCollator(256),
    )
    assert ids_of(loader) == everything[7:]
    assert ids_of(loader) == following
    dataset.load_state_dict(state_after(store, 4))
    assert ids_of(loader) == everything[4:]
    assert ids_of(loader) == following


def test_loading_a_state_while_workers_iterate_raises(store):
    dataset = BucketedDataset(store, batch_size=20)
    start = dataset.state_dict()
    iterator = iter(DataLoader(dataset, batch_size=None, num_workers=2, collate_fn=PaddingCollator(256)))
    next(iterator)
    dataset.load_state_dict(start)
    with pytest.raises(StateError, match="while DataLoader workers iterate: begin a new iteration"):
        list(iterator)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_stateful_loader_on_another_world_size_delivers_the_last_batch_once(store, workers):
    def stateful(rank):
        dataset = BucketedDataset(store, batch_size=7, rank=rank, world_size=3)
        state = BucketedDataset(store, batch_size=7, rank=0, world_size=8).state_dict()
        dataset.load_state_dict(state)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=PaddingCollator(256))

    for rank in range(3):
        whole = ids_of(stateful(rank))
        loader = stateful(rank)
        iterator = iter(loader)
        for taken in range(1, len(whole)):
            next(iterator)
            if taken < len(whole) - 2:
                continue
            resumed = stateful(rank)
            resumed.load_state_dict(loader.state_dict())
            assert ids_of(resumed) == whole[taken:]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_move_on_their_own_and_reach_their_workers(store, duplicate):
    dataset = BucketedDataset(store, batch_size=100)
    other = duplicate(dataset)
    loader = DataLoader(
        other, batch_size=None, num_workers=2, persistent_workers=True, collate_fn=PaddingCollator(256)
    )
    first = ids_of(loader)
    other.set_epoch(1)
    assert dataset.epoch == 0
    second = ids_of(loader)
    assert (other.epoch, dataset.epoch) == (2, 0)
    dataset.set_epoch(1)
    assert second == ids_of(dataset) != first


def test_a_state_beyond_the_epoch_is_followed_by_the_next_epoch(store):
    dataset = BucketedDataset(store, batch_size=100)
    dataset.load_state_dict({**dataset.state_dict(), "batch": 10**15, "group": 8})
    assert dataset.epoch == 1
    beside = BucketedDataset(store, batch_size=100)
    beside.load_state_dict({**beside.state_dict(), "epoch": 1, "group": 8})
    assert ids_of(dataset) == ids_of(beside)
    with pytest.raises(StateError, match="the state's group is 10000000000000: it must be an integer, from 1 to"):
        dataset.load_state_dict({**dataset.state_dict(), "group": 10**13})


def test_numpy_integers_are_integers(store):
    plain = BucketedDataset(store, batch_size=8, seed=3, max_length=20, window=500)
    dataset = BucketedDataset(
        store, batch_size=np.int8(8), seed=np.uint32(3), max_length=np.int64(20), window=np.int16(500)
    )
    assert ids_of(dataset) == ids_of(plain)
    assert json.loads(json.dumps(dataset.state_dict())) == plain.state_dict()


def test_what_is_no_store_or_dataset_is_named(store, tmp_path):
    with pytest.raises(PlanError, match="the corpus is a str: open one with TokenStore"):
        BucketedDataset(str(store.path), batch_size=4)
    with pytest.raises(InputError, match="the dataset is a TokenStore: give a BucketedDataset or PackedDataset"):
        StreamLoader(store, PaddingCollator(256))
    with pytest.raises(PlanError, match="batch_size is 4611686018427387904: it must be at most"):
        BucketedDataset(store, batch_size=2**62, window=2**62)
    long = write_store(tmp_path / "long", [*([2] * 99), 50])
    with pytest.raises(
        PlanError, match=r"record( \d+)? has 50 tokens and would be padded to 50, more than max_tokens=20"
    ):
        BucketedDataset(mix([(long, 0.1)]), max_tokens=20)


def test_records_of_a_mixture_can_be_found_again(store):
    half = store.split({"half": 0.5})["half"]
    mixture = mix([(half, 1), (store, 1)])
    for batch in BucketedDataset(mixture, batch_size=100):
        for row, record in enumerate(batch.record_ids.tolist()):
            source, index = mixture.locate(record)
            np.testing.assert_array_equal(batch[row], source[index])
            np.testing.assert_array_equal(mixture[record], source[index])
            np.testing.assert_array_equal(mixture.spans(record), source.spans(index))
    assert mixture.text(0) == half.text(0)
    assert mixture.num_tokens == half.num_tokens + store.num_tokens
    with pytest.raises(IndexError, match="record 1000000 of a mixture whose sources have 1504 records together"):
        mixture.locate(10**6)


def test_items_without_tensors_are_not_read_ahead_without_end():
    made = []

    def source():
        for i in range(10_000):
            made.append(i)
            yield {"text": "a"}

    ahead = prefetch_to_device(source(), "cpu", prefetch=2)
    for _ in range(1000):
        next(ahead)
    assert len(made) <= 1000 + 4 * 64
    ahead.close()


@pytest.mark.slow
def test_an_iteration_left_open_says_nothing_when_the_program_ends(store):
    import subprocess
    import sys

    script = (
        "import sys; from fastcollate import *\n"
        "loader = StreamLoader(BucketedDataset(TokenStore(sys.argv[1]), batch_size=9), PaddingCollator(256))\n"
        "batches = iter(loader)\nnext(batches)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(store.path)], capture_output=True, text=True, check=True
    )
    assert (ended.stdout, ended.stderr) == ("", "")
