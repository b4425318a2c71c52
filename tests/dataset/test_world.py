"""Who trains together: asked when a dataset is made and again when it is iterated, never guessed in silence."""

import json
import os
import subprocess
import sys

import pytest
from torch.utils.data import DataLoader

from fastcollate import BucketedDataset, PaddingCollator, PlanError, Ragged, StateError

ROWS = Ragged.from_rows([[1] * (i % 9 + 1) for i in range(100)])


def ids_of(dataset):
    return [record for batch in dataset for record in batch.record_ids.tolist() if record >= 0]


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_half_of_the_variables_is_an_error_once_iteration_begins(monkeypatch):
    for name, missing, value in (("WORLD_SIZE", "RANK", "2"), ("RANK", "WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
        dataset = BucketedDataset(ROWS, batch_size=4)
        with pytest.raises(PlanError, match=f"the environment has {name}={value} without {missing}"):
            list(dataset)
        monkeypatch.setenv(missing, "3" if missing == "WORLD_SIZE" else "0")  # launchers may set it later
        assert len(ids_of(dataset)) < 100
        monkeypatch.delenv(name)
        monkeypatch.delenv(missing)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert sorted(ids_of(BucketedDataset(ROWS, batch_size=4))) == list(range(100))


def test_a_launcher_that_says_something_else_later_is_an_error(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    dataset = BucketedDataset(ROWS, batch_size=4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PlanError, match=r"made as rank 1 of 4, as the environment said; now .* says rank 1 of 2"):
        list(dataset)
    given = BucketedDataset(ROWS, batch_size=4, rank=0, world_size=1)
    assert sorted(ids_of(given)) == list(range(100))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_that_learn_of_the_world_first_go_on_from_epoch_to_epoch(monkeypatch, persistent):
    early = BucketedDataset(ROWS, batch_size=4)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    late = BucketedDataset(ROWS, batch_size=4)
    loader = DataLoader(
        early, batch_size=None, num_workers=2, persistent_workers=persistent, collate_fn=PaddingCollator(0)
    )
    for _ in range(3):
        assert ids_of(loader) == ids_of(late)


def test_comparing_ranks_needs_ranks():
    with pytest.raises(StateError, match=r"check_ranks compares ranks through torch\.distributed"):
        BucketedDataset(ROWS, batch_size=4).check_ranks()


SCRIPT = """
import json, os, sys, torch.distributed as dist
from torch.utils.data import DataLoader
from fastcollate import BucketedDataset, PaddingCollator, Ragged, StateMismatchError, StreamLoader
rank, place = int(sys.argv[1]), sys.argv[2]
rows = Ragged.from_rows([[1] * (i % 9 + 1) for i in range(100)])
def make(**arguments):
    return BucketedDataset(rows, batch_size=4, **arguments)
def ids(batches):
    return [record for batch in batches for record in batch.record_ids.tolist() if record >= 0]
if __name__ == "__main__":
    early, seeded, moved = make(), make(seed=rank), make()
    spawned, streamed = make(), StreamLoader(make(), PaddingCollator(0))
    dist.init_process_group("gloo", init_method="file://" + place, rank=rank, world_size=2)
    found = {"rank": [early.rank, early.world_size], "plain": ids(early), "stream": ids(streamed)}
    workers = {"batch_size": None, "num_workers": 1, "collate_fn": PaddingCollator(0)}
    found["spawn"] = ids(DataLoader(spawned, multiprocessing_context="spawn", **workers))
    os.environ.update(RANK="0", WORLD_SIZE="1")  # left over; a spawned worker sees nothing else
    found["stale"] = ids(DataLoader(make(), multiprocessing_context="spawn", **workers))
    make().check_ranks()
    if rank:
        next(iter(moved))
    twice = make(rank=0, world_size=2)
    make(rank=0, world_size=1).check_ranks()  # both train on the same
    for name, dataset in (("seed", seeded), ("batch", moved), ("rank twice", twice)):
        try:
            dataset.check_ranks()
        except StateMismatchError as error:
            found[name] = str(error)
    dist.destroy_process_group()
    print(json.dumps(found))
"""


def test_datasets_made_before_the_processes_meet_share_the_records(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, tmp_path / "script.py", str(rank), str(tmp_path / "meet")],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    first, second = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert (first["rank"], second["rank"]) == ([0, 2], [1, 2])
    for door in ("plain", "stream", "spawn", "stale"):
        assert sorted(first[door] + second[door]) == list(range(100))
        assert first[door] == first["plain"]
    for found in (first, second):
        assert found["seed"].startswith("rank 1 differs from rank 0 in seed")
        assert found["batch"].startswith("rank 1 differs from rank 0 in batch")
        message = found["rank twice"]
        assert message.startswith("nobody takes the batches of rank 1 of 2: the processes have the ranks [0, 0]")
