"""Where memory does not hold a corpus its records are read ahead, and batches are the same as ever."""

import logging
import threading

import numpy as np
import pytest

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PaddingCollator,
    Ragged,
    StorageError,
    StoreWriter,
    StreamLoader,
    TokenStore,
    mix,
)
from fastcollate.corpus import ahead
from fastcollate.corpus.ahead import ReadAhead
from fastcollate.dataset import announced
from fastcollate.loader import delivery
from fastcollate.storage.read_counts import ReadCounts

pytestmark = pytest.mark.filterwarnings("ignore:every record is shuffled alone")
LENGTHS = (np.arange(3000) * 7919 % 83 + 1).tolist()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("ahead") / "store"
    spans = Ragged.from_rows([[n // 2, n] for n in LENGTHS], np.uint32)
    with StoreWriter(path, encoding="bytes", records_per_shard=700) as writer:
        writer.append(Ragged.from_rows([[i % 250] * n for i, n in enumerate(LENGTHS)], np.uint16), spans=spans)
    return TokenStore(path)


@pytest.fixture
def little_memory(monkeypatch):
    """A machine whose memory holds next to nothing, and portions of some batches."""
    monkeypatch.setattr(announced, "_SMALL", 0)
    monkeypatch.setattr(announced, "memory_room", lambda: 1000)
    monkeypatch.setattr(announced, "_LEAST", 40_000)


KINDS = {
    "rows": lambda corpus, **world: BucketedDataset(corpus, batch_size=8, window=500, **world),
    "tokens": lambda corpus, **world: BucketedDataset(corpus, max_tokens=400, window=500, max_length=40, **world),
    "blocks": lambda corpus, **world: BucketedDataset(corpus, batch_size=8, shuffle_block=64, **world),
    "packs": lambda corpus, **world: PackedDataset(corpus, length=128, batch_size=2, window=500, **world),
    "split": lambda corpus, **world: PackedDataset(corpus, length=50, overlong="split", **world),
}


def stream(dataset):
    return [(batch.record_ids, batch.tokens.to_ragged(), batch.columns["spans"].to_ragged()) for batch in dataset]


def assert_equal(first, second):
    assert len(first) == len(second)
    for (ids, tokens, spans), (other_ids, other_tokens, other_spans) in zip(first, second, strict=True):
        np.testing.assert_array_equal(ids, other_ids, strict=True)
        assert (tokens, spans) == (other_tokens, other_spans)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world_size", [1, 3])
def test_batches_are_the_same_as_in_memory(store, request, kind, world_size):
    world = {"rank": world_size - 1, "world_size": world_size}
    usual = stream(KINDS[kind](store, **world))
    request.getfixturevalue("little_memory")
    assert_equal(stream(KINDS[kind](store, **world)), usual)


def test_so_are_those_of_a_mixture(store, request):
    corpus = mix([(store, 0.5), (store, 1.3)])
    usual = stream(KINDS["rows"](corpus))
    request.getfixturevalue("little_memory")
    assert_equal(stream(KINDS["rows"](corpus)), usual)


def test_a_mixture_is_read_ahead_where_one_of_its_sources_is_slow(store, monkeypatch):
    parts = store.split({"far": 0.4, "near": None})
    corpus = mix([(parts["far"], 0.5), (parts["near"], 2)])
    dataset = BucketedDataset(corpus, batch_size=8, window=500)
    usual = [batch.tokens.to_ragged() for batch in dataset]
    read = []

    class Slow(Failing):
        def read(self, indices, columns, counts):
            read.extend(indices.tolist())
            return self.find(indices, columns)

    def at_epoch(self, seed, epoch):
        return Slow(self._records) if len(self) == 1200 else self._records

    monkeypatch.setattr(TokenStore, "at_epoch", at_epoch)
    assert [batch.tokens.to_ragged() for batch in BucketedDataset(corpus, batch_size=8, window=500)] == usual
    assert len(read) == 600


@pytest.mark.usefixtures("little_memory")
def test_a_run_is_resumed_in_the_middle(store):
    dataset = KINDS["rows"](store)
    wanted = [batch.record_ids.tolist() for batch in KINDS["rows"](store)]
    given = [batch.record_ids.tolist() for _, batch in zip(range(70), dataset, strict=False)]
    again = KINDS["rows"](store)
    again.load_state_dict(dataset.state_dict())
    assert given + [batch.record_ids.tolist() for batch in again] == wanted


@pytest.mark.usefixtures("little_memory")
def test_a_loader_says_what_was_read(store):
    with StreamLoader(KINDS["blocks"](store), PaddingCollator(256)) as loader:
        for _ in loader:
            pass
        reads = loader.stats.reads
        assert reads.bytes_used >= 2 * store.num_tokens
        assert reads.bytes_read + reads.cache_hits >= reads.bytes_used
        assert loader.stats.shuffle_block == 64
        assert loader.stats.bytes_read_per_byte_used == reads.bytes_read / reads.bytes_used


def test_in_memory_nothing_is_read_ahead(store, monkeypatch):
    monkeypatch.setattr(ReadAhead, "announce", None)
    with StreamLoader(KINDS["rows"](store), PaddingCollator(256)) as loader:
        assert sum(1 for _ in loader) == 375
        assert loader.stats.reads == ReadCounts()
        assert np.isnan(loader.stats.bytes_read_per_byte_used)


def test_a_shuffle_of_single_records_beyond_memory_is_warned_of_with_a_figure(store, monkeypatch, caplog):
    monkeypatch.setattr(announced, "_SMALL", 0)
    monkeypatch.setattr(announced, "memory_room", lambda: 1000)
    told = r"every record is shuffled alone.*expect about 0\.8 M tokens a second.*shuffle_block=2048 reads larger"
    with pytest.warns(UserWarning, match=told):
        BucketedDataset(store, batch_size=8)
    with caplog.at_level(logging.INFO, "fastcollate"):
        BucketedDataset(store, batch_size=8, shuffle_block=4096)
    assert "more than memory holds: they are read ahead, in blocks of 4096 record(s)" in caplog.text


def test_a_pass_that_waits_for_storage_is_told_what_to_change():
    with pytest.warns(UserWarning, match=r"6 of the 60 seconds .*\(10%\): make shuffle_block larger"):
        delivery._tell_waiting(6.0, 60.0)
    delivery._tell_waiting(2.0, 60.0)  # these are errors if they warn
    delivery._tell_waiting(1.0, 2.0)


class Failing:
    """Records of which one cannot be read."""

    def __init__(self, records):
        self.records = records
        self.lengths_at, self.find, self.gather = records.lengths_at, records.find, records.gather

    def is_slow(self):
        return True

    def read(self, indices, columns, counts):
        if 5 in indices:
            raise StorageError("record 5 is away")
        return self.records.find(indices, columns)


def test_a_batch_waits_for_no_later_one_and_threads_end_with_the_pass(store, monkeypatch):
    usual = [batch.record_ids.tolist() for batch in BucketedDataset(store, batch_size=4, shuffle_block=64)]
    gate = threading.Event()

    class Gated(Failing):
        def read(self, indices, columns, counts):
            assert len(indices) == 4 or gate.wait(30)
            return self.records.find(indices, columns)

    monkeypatch.setattr(announced, "_LEAST", 1)
    monkeypatch.setattr(announced, "_MOST", 40_000)
    monkeypatch.setattr(ahead, "_FIRST", 1)
    monkeypatch.setattr(TokenStore, "at_epoch", lambda self, seed, epoch: Gated(self._records))
    batches = iter(BucketedDataset(store, batch_size=4, shuffle_block=64))
    before = set(threading.enumerate())
    given = [next(batches).record_ids.tolist()]
    assert not gate.is_set()
    gate.set()
    given += [batch.record_ids.tolist() for batch in batches]
    assert given == usual
    again = iter(BucketedDataset(store, batch_size=4, shuffle_block=64))
    next(again)
    again.close()
    assert not [thread for thread in threading.enumerate() if "prefetch" in thread.name and thread not in before]


def test_an_error_comes_with_the_batch_that_needs_the_record(store, monkeypatch):
    monkeypatch.setattr(announced, "_LEAST", 1)
    monkeypatch.setattr(announced, "_MOST", 4000)
    monkeypatch.setattr(TokenStore, "at_epoch", lambda self, seed, epoch: Failing(self._records))
    batches = iter(BucketedDataset(store, batch_size=4, shuffle=False, window=4))
    assert sorted(next(batches).record_ids.tolist()) == [0, 1, 2, 3]
    with pytest.raises(StorageError, match="record 5 is away"):
        next(batches)
