"""Damage that hashing finds beside a pass is told before the pass ends, whoever reads, and sound data is not."""

import threading
import time

import numpy as np
import pytest
from batches import DATASETS
from damage import change
from stores import write_store
from torch.utils.data import DataLoader

from fastcollate import BucketedDataset, PaddingCollator, Ragged, StoreCorruptError, StreamLoader, TokenStore, mix
from fastcollate.store.shards import background

LENGTHS = [5, 3, 8, 2] * 10


@pytest.fixture(params=["arrow", "npy"])
def path(request, tmp_path):
    write_store(tmp_path / "store", LENGTHS, records_per_shard=10, layout=request.param, spans=True)
    return tmp_path / "store"


@pytest.fixture
def slow(monkeypatch):
    """Hashing takes longer than reading, so that nothing is found by chance before it is waited for."""
    hash_file = background.hash_of
    monkeypatch.setattr(background, "hash_of", lambda *given: (time.sleep(0.02), hash_file(*given))[1])


def damage(path):
    """Change a token of record 15, which a batch shows as it is."""
    change(path, 1, "input_ids", 25, 99)
    return TokenStore(path)


def read(batches, most=10**9):
    """The batches that come, until the error."""
    found = []
    for batch in batches:
        found.append(batch)
        if len(found) == most:
            break
    return found


TOLD = (
    r"shard-00001\..* has changed since it was written: .*, and records 10 to 19 of the store may be wrong; "
    r"restore .*\. Any batch of epoch 0 from batch 0 on may hold some of these records, and \d+ batches were "
    r"read here"
)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("kind", DATASETS)
def test_the_last_batch_is_not_given_before_all_files_are_hashed(path, kind):
    dataset = DATASETS[kind](damage(path))
    whole = len(dataset)
    with pytest.raises(StoreCorruptError, match=TOLD):
        read(dataset, whole)


def test_the_next_batch_tells(path, monkeypatch):
    hashing = threading.Event()
    hash_file = background.hash_of
    monkeypatch.setattr(background, "hash_of", lambda *given: (hashing.wait(60), hash_file(*given))[1])
    batches = iter(BucketedDataset(damage(path), batch_size=1))
    assert len(read(batches, 7)) == 7
    hashing.set()
    with pytest.raises(StoreCorruptError, match=r"and (7|8|9|[12]\d) batches were read here before"):
        read(time.sleep(0.05) or batch for batch in batches)
    assert len(read(BucketedDataset(TokenStore(path, verify="none"), batch_size=1))) == len(LENGTHS)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("batch_size", [4, 20, 40])
def test_workers_share_the_files_and_the_last_batch_waits_for_all_of_them(path, batch_size):
    """There are 10, 2 and 1 batches: of three workers some get none, and are heard after the last batch."""
    dataset = BucketedDataset(damage(path), batch_size=batch_size)
    for loader in (
        StreamLoader(dataset, PaddingCollator(256), num_workers=3),
        DataLoader(BucketedDataset(TokenStore(path), batch_size=batch_size), batch_size=None, num_workers=2),
    ):
        with pytest.raises(StoreCorruptError, match=r"shard-00001\..* has changed since it was written"):
            read(loader, len(LENGTHS) // batch_size)


@pytest.mark.usefixtures("slow")
def test_a_mixture_checks_its_sources(path, tmp_path):
    other = write_store(tmp_path / "other", LENGTHS)
    mixture = mix([(other, 1), (damage(path), 2)])
    assert [shard.first for shard in mixture.at_epoch(0, 0).unverified()] == [0, 0, 10, 20, 30]
    with pytest.raises(StoreCorruptError, match=r"shard-00001\..* has changed since it was written"):
        read(BucketedDataset(mixture, batch_size=100), 2)
    assert len(read(BucketedDataset(mix([(other, 2)]), batch_size=100))) == 1


def test_a_view_is_read_where_the_store_is_sound(path):
    parts = damage(path).split({"first": 0.25, "rest": None})
    assert len(read(BucketedDataset(parts["first"], batch_size=1))) == 10
    with pytest.raises(StoreCorruptError, match=TOLD):
        read(BucketedDataset(parts["rest"], batch_size=10), 3)


def test_sound_files_are_hashed_once_and_no_thread_stays(path, monkeypatch):
    before = threading.active_count()
    dataset = BucketedDataset(TokenStore(path), batch_size=3)
    rows = {tuple(batch.record_ids.tolist()) for batch in dataset}
    assert threading.active_count() == before
    monkeypatch.setattr(background, "hash_of", None)  # a call would be an error
    assert {tuple(batch.record_ids.tolist()) for batch in dataset} != rows
    assert len(read(BucketedDataset(TokenStore(path), batch_size=3))) == 14


def test_a_pass_that_is_left_stops_hashing(path, monkeypatch):
    held = threading.Event()
    monkeypatch.setattr(background, "hash_of", lambda *_: held.wait(60) and None)
    before = threading.active_count()
    batches = iter(BucketedDataset(TokenStore(path), batch_size=1))
    next(batches)
    assert threading.active_count() == before + 1
    del batches
    held.set()
    until = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_records_that_come_from_no_files_are_read_as_they_are():
    dataset = BucketedDataset(Ragged.from_rows([[1], [2, 3]]), batch_size=1, shuffle=False)
    np.testing.assert_array_equal(np.sort([len(batch.tokens.values[:1]) for batch in dataset]), [1, 1])
