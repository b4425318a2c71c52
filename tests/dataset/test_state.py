"""A dataset's state: small, exact, valid for any world size, and refused where it does not belong."""

import json
import subprocess
import sys

import pytest

from fastcollate import BucketedDataset, StateError, StateMismatchError


def ids_of(batches):
    return [batch.record_ids.tolist() for batch in batches]


def states_and_rests(store):
    """The state at every batch of two epochs, with what is left of its epoch then, or with the whole next one."""
    epochs = BucketedDataset(store, batch_size=50)
    everything = [ids_of(epochs) for _ in range(3)]
    dataset = BucketedDataset(store, batch_size=50)
    for epoch in (0, 1):
        iterator = iter(dataset)
        for taken in range(len(everything[epoch])):
            yield dataset.state_dict(), everything[epoch][taken:]
            next(iterator)
        yield dataset.state_dict(), everything[epoch + 1]


def test_state_is_small_json_and_resumes_at_every_batch(store):
    for state, rest in states_and_rests(store):
        text = json.dumps(state)
        assert len(text) < 4096
        fresh = BucketedDataset(store, batch_size=50)
        fresh.load_state_dict(json.loads(text))
        assert ids_of(fresh) == rest


def test_the_pass_after_a_resumed_one_is_whole(store):
    epochs = BucketedDataset(store, batch_size=50)
    first, second = ids_of(epochs), ids_of(epochs)
    dataset = BucketedDataset(store, batch_size=50)
    next(iter(dataset))
    resumed = BucketedDataset(store, batch_size=50)
    resumed.load_state_dict(dataset.state_dict())
    resumed.set_epoch(0)
    assert ids_of(resumed) == first[1:]
    assert ids_of(resumed) == second


def test_loading_a_state_moves_an_iterator_in_use(store):
    dataset = BucketedDataset(store, batch_size=50)
    everything = ids_of(dataset)
    dataset.set_epoch(0)
    iterator = iter(dataset)
    for _ in range(3):
        next(iterator)
    state = dataset.state_dict()
    for _ in range(4):
        next(iterator)
    dataset.load_state_dict(state)
    assert dataset.state_dict() == state
    assert ids_of(iterator) == everything[3:]


def test_a_chain_of_world_sizes_delivers_every_record_once_in_one_order(store):
    reference = ids_of(BucketedDataset(store, batch_size=4, rank=0, world_size=8))
    state, order = None, []
    for world_size, steps in ((8, 5), (4, 7), (16, 3), (3, 6), (1, None)):
        states, streams = [], []
        for rank in range(world_size):
            dataset = BucketedDataset(store, batch_size=4, rank=rank, world_size=world_size)
            if state is not None:
                dataset.load_state_dict(state)
            iterator = iter(dataset)
            wanted = steps if steps is not None else 10**9
            streams.append([batch.record_ids.tolist() for batch, _ in zip(iterator, range(wanted), strict=False)])
            states.append(dataset.state_dict())
        assert len({len(stream) for stream in streams}) == 1
        if steps is None:
            order += streams[0]
        else:
            # zip took one batch more than it gave: the state to go on from is the one before it
            states = [{**taken, "batch": taken["batch"] - world_size} for taken in states]
            order += [stream[step] for step in range(steps) for stream in streams]
        assert all(taken == states[0] for taken in states)
        state = states[0]
    assert sorted(record for batch in order for record in batch if record >= 0) == list(range(len(store)))
    assert order[::8][: len(reference)] == reference


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": 8}, StateMismatchError, "taken with seed 8, this dataset has 0"),
        ({"version": 3}, StateMismatchError, "the state has version 3, this fastcollate reads 2"),
        ({"epoch": -1}, StateError, "the state's epoch is -1"),
        ({"batch": "3"}, StateError, "the state's batch is '3'"),
        ({"group": 0}, StateError, "the state's group is 0"),
        ({"extra": 1}, StateError, "not a fastcollate state"),
        ({"fingerprint": "abc"}, StateError, "the state's fingerprint is not a dict"),
    ],
)
def test_states_that_do_not_belong_here_are_refused(store, change, error, message):
    dataset = BucketedDataset(store, batch_size=50)
    with pytest.raises(error, match=message):
        dataset.load_state_dict({**dataset.state_dict(), **change})


def test_a_state_of_other_data_or_arguments_names_the_field(store):
    state = BucketedDataset(store, batch_size=50).state_dict()
    with pytest.raises(StateMismatchError, match="batch_size 50, this dataset has 51"):
        BucketedDataset(store, batch_size=51).load_state_dict(state)
    half = store.split({"half": 0.5})["half"]
    with pytest.raises(
        StateMismatchError, match=r"taken with corpus '[0-9a-f]{64}', this dataset has '[0-9a-f]{64}'"
    ):
        BucketedDataset(half, batch_size=50).load_state_dict(state)


@pytest.mark.slow
def test_every_state_of_two_epochs_resumes_in_a_new_process(store, tmp_path):
    states, rests = zip(*states_and_rests(store), strict=True)
    (tmp_path / "states.json").write_text(json.dumps(states))
    script = """
import json, sys
from fastcollate import BucketedDataset, TokenStore
found = []
for state in json.load(open(sys.argv[2])):
    dataset = BucketedDataset(TokenStore(sys.argv[1]), batch_size=50)
    dataset.load_state_dict(state)
    found.append([batch.record_ids.tolist() for batch in dataset])
print(json.dumps(found))
"""
    argv = [sys.executable, "-c", script, str(store.path), str(tmp_path / "states.json")]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == list(rests)
