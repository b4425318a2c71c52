"""`BucketedDataset`: what reaches a user of the plan."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from stores import write_store
from torch.utils.data import DataLoader

from fastcollate import BucketedDataset, PaddingCollator, PlanError, RaggedBatch


def ids_of(batches):
    return [batch.record_ids.tolist() for batch in batches]


def content(batches):
    """Everything in a stream of collated batches, as plain lists."""
    return [(b["input_ids"].tolist(), b["labels"].tolist(), b.record_ids.tolist()) for b in batches]


def test_an_epoch_delivers_every_record_once_with_its_tokens(store):
    seen = []
    for batch in BucketedDataset(store, batch_size=16):
        assert isinstance(batch, RaggedBatch)
        for row, record in enumerate(batch.record_ids.tolist()):
            np.testing.assert_array_equal(batch[row], store[record])
            np.testing.assert_array_equal(batch.spans[row].reshape(-1, 2), store.spans(record))
            seen.append(record)
    assert sorted(seen) == list(range(len(store)))


def test_the_length_is_exact_and_drop_last_drops_the_odd_rows(store):
    for arguments in ({"batch_size": 16}, {"batch_size": 16, "drop_last": True}, {"max_tokens": 2000}):
        dataset = BucketedDataset(store, **arguments)
        assert len(dataset) == len(list(dataset))
    assert len(BucketedDataset(store, batch_size=16)) == 63
    assert len(BucketedDataset(store, batch_size=16, drop_last=True)) == 62


def test_sorting_windows_makes_padding_vanish(store):
    def padding(window):
        batches = list(BucketedDataset(store, batch_size=16, window=window))
        cells = sum(len(batch) * int(batch.lengths.max()) for batch in batches)
        return 1 - store.num_tokens / cells

    assert padding(16) > 0.4
    assert padding(65_536) < 0.1


def test_max_length_cuts_rows_before_they_are_planned(store):
    batches = list(BucketedDataset(store, max_tokens=400, max_length=50))
    assert max(int(batch.lengths.max()) for batch in batches) == 50
    assert all(len(batch) * int(batch.lengths.max()) <= 400 for batch in batches)
    assert sum(int(batch.lengths.sum()) for batch in batches) == int(np.minimum(store.lengths, 50).sum())


def test_without_shuffling_records_keep_their_windows(store):
    first = store.split({"first": 1000 / 1003})["first"]
    batches = list(BucketedDataset(first, batch_size=10, window=100, shuffle=False))
    for number in range(10):
        window = batches[number * 10 : number * 10 + 10]
        records = np.concatenate([batch.record_ids for batch in window])
        np.testing.assert_array_equal(np.sort(records), np.arange(number * 100, number * 100 + 100))
        lengths = np.concatenate([batch.lengths for batch in window])
        np.testing.assert_array_equal(lengths, np.sort(lengths)[::-1])


def test_static_shapes_are_known_before_the_epoch(store):
    for arguments in ({"batch_size": 8, "buckets": 4}, {"max_tokens": 1600, "buckets": [25, 50, 200]}):
        dataset = BucketedDataset(store, **arguments)
        collated = DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(256))
        found = {tuple(batch["input_ids"].shape) for batch in collated}
        assert found == set(dataset.shapes)
        assert len(found) <= 4


def test_epochs_differ_and_come_back(store):
    dataset = BucketedDataset(store, batch_size=16)
    first, second = ids_of(dataset), ids_of(dataset)
    dataset.set_epoch(1)
    assert ids_of(dataset) == second
    dataset.set_epoch(0)
    assert ids_of(dataset) == first
    assert first != second


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_any_number_of_workers_gives_the_same_stream(store, workers):
    dataset = BucketedDataset(store, batch_size=32)
    expected = content(DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(256)))
    dataset.set_epoch(0)
    loader = DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(256), num_workers=workers)
    assert content(loader) == expected


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_new_epoch_reaches_persistent_workers(store, context):
    dataset = BucketedDataset(store, batch_size=100)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=context,
        collate_fn=PaddingCollator(256),
    )
    alone = BucketedDataset(store, batch_size=100)
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        alone.set_epoch(epoch)
        found = [batch.record_ids.tolist() for batch in loader]
        assert found == ids_of(alone)


def test_ranks_agree_on_the_number_of_batches_when_records_are_few(tmp_path):
    tiny = write_store(tmp_path / "tiny", [3, 5, 2])
    datasets = [BucketedDataset(tiny, batch_size=2, rank=rank, world_size=5) for rank in range(5)]
    batches = [ids_of(dataset) for dataset in datasets]
    assert {len(share) for share in batches} == {1}
    assert {len(dataset) for dataset in datasets} == {1}
    flat = [record for share in batches for batch in share for record in batch]
    assert sorted(flat) == [-1, -1, 0, 1, 2]
    filler = next(dataset for dataset, share in zip(datasets, batches, strict=True) if share == [[-1]])
    batch = PaddingCollator(256)(next(iter(filler)))
    assert batch["attention_mask"].sum() == 0
    assert batch["labels"].eq(-100).all()
    assert (batch.num_tokens, batch.num_supervised) == (0, 0)


def test_the_world_comes_from_torchruns_environment(store, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    dataset = BucketedDataset(store, batch_size=16)
    assert (dataset.rank, dataset.world_size) == (2, 3)
    monkeypatch.setenv("RANK", "two")
    with pytest.raises(PlanError, match="RANK and WORLD_SIZE are no integers"):
        BucketedDataset(store, batch_size=16)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_real_processes_end_their_epoch_together(store, tmp_path, world_size):
    script = f"""
import sys, torch.distributed as dist
from fastcollate import BucketedDataset, TokenStore
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=rank, world_size={world_size})
dataset = BucketedDataset(TokenStore({str(store.path)!r}), batch_size=16)
assert (dataset.rank, dataset.world_size) == (rank, {world_size})
import torch
records, steps = 0, 0
for batch in dataset:
    token = torch.tensor([len(batch)])
    dist.all_reduce(token)  # hangs if any rank has fewer batches
    records += int((batch.record_ids >= 0).sum())
    steps += 1
total = torch.tensor([records])
dist.all_reduce(total)
print(steps, int(total))
dist.destroy_process_group()
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(world_size)
    ]
    outputs = {process.communicate(timeout=60)[0].split()[-2:][0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert outputs == {str(-(-1003 // (16 * world_size)))}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "batch_size and max_tokens: neither given"),
        ({"batch_size": 4, "max_tokens": 100}, "batch_size and max_tokens: both given"),
        ({"batch_size": 0}, "batch_size is 0: it must be an integer, at least 1"),
        ({"batch_size": 4, "window": 3}, "window is 3, smaller than a batch of 4"),
        ({"batch_size": 4, "max_length": -1}, "max_length is -1: it must be an integer, at least 1"),
        ({"max_tokens": 100}, r"record \d+ has 200 tokens and would be padded to 200, more than max_tokens=100"),
        ({"max_tokens": 250, "buckets": [64, 256]}, "would be padded to 256, more than max_tokens=250"),
        ({"batch_size": 4, "buckets": [64]}, "buckets end at 64 but the longest record has 200 tokens"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "rank 2 of world_size 2"),
        ({"batch_size": 4, "rank": 2}, "give both or neither"),
        ({"batch_size": 4, "seed": 1.5}, r"seed is 1\.5: it must be an integer"),
        ({"batch_size": 4, "seed": -1}, "seed is -1: it must be an integer, at least 0"),
    ],
)
def test_bad_arguments_are_named(store, arguments, message):
    with pytest.raises(PlanError, match=message):
        BucketedDataset(store, **arguments)


def test_a_bad_epoch_and_an_empty_store_are_errors(store):
    with pytest.raises(PlanError, match="epoch is 'one': it must be an integer"):
        BucketedDataset(store, batch_size=4).set_epoch("one")
    empty = store.split({"none": 0.0, "all": None})["none"]
    with pytest.raises(PlanError, match="the store has no records"):
        BucketedDataset(empty, batch_size=4)


def test_datasets_do_not_disturb_torchs_or_numpys_randomness(store):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    list(BucketedDataset(store, batch_size=16))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
