"""A state says where its window begins: resuming counts nothing before it, on any world size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from batches import DATASETS, outlines

from fastcollate import StateError

COUNTED = [name for name in DATASETS if name != "rows"]


def states_of(dataset):
    """The state before each batch of an epoch and after the last, and the batches."""
    iterator, states, batches = iter(dataset), [dataset.state_dict()], []
    for batch in iterator:
        batches += outlines([batch])
        states.append(dataset.state_dict())
    return states, batches


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_state_resumes_with_the_rest(store, kind, epoch):
    dataset = DATASETS[kind](store)
    dataset.set_epoch(epoch)
    states, batches = states_of(dataset)
    following = outlines(dataset)  # once the last batch was delivered, the next epoch begins
    assert (states[0]["landmark"] is None) == (kind == "rows")
    assert all(state["fingerprint"] == states[0]["fingerprint"] for state in states)
    for taken, state in enumerate(states):
        assert state["batch"] == taken
        resumed = DATASETS[kind](store)
        resumed.load_state_dict(json.loads(json.dumps(state)))
        assert resumed.state_dict() == state
        assert outlines(resumed) == (batches[taken:] or following)
        after = epoch + 1 if batches[taken:] else epoch + 2
        assert (resumed.state_dict()["epoch"], resumed.state_dict()["batch"]) == (after, 0)


@pytest.mark.parametrize("kind", COUNTED)
def test_all_ranks_take_the_same_states(store, kind):
    for world_size in (2, 3):
        ranks = [states_of(DATASETS[kind](store, rank=r, world_size=world_size))[0] for r in range(world_size)]
        assert ranks[1:] == ranks[:-1]
        for state in ranks[0][1::5]:
            for other in (1, 2, 5):
                resumed = [DATASETS[kind](store, rank=r, world_size=other) for r in range(other)]
                for dataset in resumed:
                    dataset.load_state_dict(state)
                taken = [states_of(dataset)[0] for dataset in resumed]
                assert taken[1:] == taken[:-1]


@pytest.mark.parametrize("kind", COUNTED)
@pytest.mark.parametrize("world_size", [1, 3])
def test_resuming_late_reads_a_few_windows(store, kind, world_size, monkeypatch):
    states, _ = states_of(DATASETS[kind](store))
    late = DATASETS[kind](store, rank=0, world_size=world_size)
    read = []
    records = type(store.at_epoch(0, 0))
    look_up = records.lengths_at
    monkeypatch.setattr(records, "lengths_at", lambda s, ids: read.append(len(ids)) or look_up(s, ids))
    late.load_state_dict(states[-4])
    iterator = iter(late)
    next(iterator)
    late.state_dict()
    assert 0 < sum(read) <= 5 * 150


@pytest.mark.parametrize("kind", COUNTED)
def test_a_batch_moved_by_hand_is_found_by_counting(store, kind):
    states, batches = states_of(DATASETS[kind](store))
    for moved in (0, 1, 7, len(batches) - 1):
        resumed = DATASETS[kind](store)
        resumed.load_state_dict({**states[9], "batch": moved})
        assert outlines(resumed) == batches[moved:]


@pytest.mark.parametrize("kind", COUNTED)
def test_a_landmark_of_another_epoch_or_group_is_not_believed(store, kind):
    states, _ = states_of(DATASETS[kind](store))
    for change in ({"epoch": 1}, {"group": 2}):
        state = {**states[9], **change}
        expected, found = DATASETS[kind](store), DATASETS[kind](store)
        expected.load_state_dict({**state, "landmark": None})
        found.load_state_dict(state)
        assert outlines(found) == outlines(expected)


@pytest.mark.parametrize(
    "landmark",
    [
        3,
        "012",
        [1, 2],
        [0, 1, 0, 0, -1],
        [0, 1, 0.0, 0, 0],
        [True, 1, 0, 0, 0],
        [0, 1, 2**63, 0, 0],
        [0, 1, 0, 5, 0],
        [0, 1, 99, 0, 0],
    ],
)
def test_a_landmark_that_is_none_is_refused(store, landmark):
    dataset = DATASETS["tokens"](store)
    state = dataset.state_dict()
    with pytest.raises(StateError, match="the state's landmark is"):
        dataset.load_state_dict({**state, "landmark": landmark})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("kind", DATASETS)
def test_loaders_resume_in_a_new_process(store, kind, tmp_path):
    states, batches = states_of(DATASETS[kind](store))
    chosen = list(range(0, len(states) - 1, 7))
    (tmp_path / "states.json").write_text(json.dumps([states[i] for i in chosen]))
    script = """
import json, sys
sys.path.insert(0, sys.argv[4])
from torchdata.stateful_dataloader import StatefulDataLoader
from fastcollate import StreamLoader, TokenStore
from batches import DATASETS, outlines
found, store = [], TokenStore(sys.argv[1])
for state in json.load(open(sys.argv[2])):
    stream = StreamLoader(DATASETS[sys.argv[3]](store), lambda batch: batch)
    stream.load_state_dict(state)
    dataset = DATASETS[sys.argv[3]](store)
    dataset.load_state_dict(state)
    stateful = StatefulDataLoader(dataset, batch_size=None, collate_fn=lambda batch: batch)
    found.append([outlines(stream), outlines(stateful)])
print(json.dumps(found))
"""
    argv = [sys.executable, "-c", script, store.path, tmp_path / "states.json", kind, Path(__file__).parents[1]]
    output = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [[batches[i:]] * 2 for i in chosen]
