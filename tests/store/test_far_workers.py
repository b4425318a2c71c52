"""Workers over a store in an object store: they open it anew, and a fork that cannot is told so."""

from dataclasses import replace

import pytest
from batches import COLLATED, DATASETS, contents
from contracts import assert_same_stream
from far_stores import Far
from torch.utils.data import DataLoader

from fastcollate import StorageError, StreamLoader


@pytest.fixture
def far(store, bucket, options, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCOLLATE_CACHE_DIR", str(tmp_path / "users"))
    return Far(store, f"{bucket}/store", options, tmp_path / "cache")


@pytest.mark.slow
def test_the_loaders_workers_give_the_same_batches(store, far):
    (near_dataset, collator), (dataset, _) = COLLATED["padded"](store), COLLATED["padded"](far.open())
    with StreamLoader(dataset, collator, num_workers=2) as loader, StreamLoader(near_dataset, collator) as wanted:
        assert contents(loader) == contents(wanted)


@pytest.mark.slow
def test_what_workers_read_is_counted_in_each_pass(store, far):
    dataset, collator = COLLATED["padded"](far.open(cache_dir=far.cache))
    with StreamLoader(dataset, collator, num_workers=2) as loader:
        for _ in loader:
            pass
        first = replace(loader.stats.reads)
        assert first.bytes_used >= store.token_bytes
        assert 0.9 * store.token_bytes <= first.bytes_read <= 1.1 * store.token_bytes  # each block by one of them
        assert 0 < first.seconds_waited < 60
        for _ in loader:
            pass
        second = loader.stats.reads
        assert (second.bytes_read, second.bytes_used) == (first.bytes_read, 2 * first.bytes_used)
        assert second.cache_hits - first.cache_hits >= store.token_bytes


@pytest.mark.slow
def test_workers_of_a_data_loader_that_are_started_anew_give_the_same(store, far):
    loader = DataLoader(
        DATASETS["rows"](far.open()), batch_size=None, num_workers=2, multiprocessing_context="forkserver"
    )
    assert_same_stream(loader, DATASETS["rows"](store))


def test_workers_of_a_data_loader_that_are_forked_are_told(far):
    dataset = DATASETS["rows"](far.open())
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(StorageError, match=r"before this process was forked.* processes by spawn or forkserver"):
        next(iter(loader))
