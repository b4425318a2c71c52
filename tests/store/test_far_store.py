"""A store in an object store gives the same as its directory: records, orders, batches, and runs that go on."""

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from batches import COLLATED, DATASETS, contents
from contracts import assert_exactly_once, assert_resumes_everywhere, assert_same_stream
from far_stores import Far, keep_in_memory
from stores import gathered, lognormal_lengths, write_store

from fastcollate import (
    InputError,
    StorageError,
    StoreCorruptError,
    StoreError,
    StreamLoader,
    TokenStore,
    merge,
    mix,
    open_corpus,
)
from fastcollate.storage.network.block_cache import BLOCK_BYTES
from fastcollate.storage.objects import ObjectStorage
from fastcollate.storage.storage import open_storage

COUNT = 530


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCOLLATE_CACHE_DIR", str(tmp_path / "users"))
    keep_in_memory(monkeypatch, 256 << 20)
    return tmp_path / "users"


@pytest.fixture(scope="module", params=["arrow", "npy"])
def near(request, tmp_path_factory):
    """530 records in four shards, of several blocks each."""
    lengths = lognormal_lengths(COUNT, mean=4.8, high=300)
    folder = tmp_path_factory.mktemp("near") / "store"
    return write_store(folder, lengths, records_per_shard=150, layout=request.param, spans=True)


@pytest.fixture
def far(near, bucket, options, tmp_path):
    return Far(near, f"{bucket}/deep/store", options, tmp_path / "cache")


@pytest.mark.parametrize("cached", [False, True])
def test_every_record_is_the_same(near, far, cached):
    store = far.open(cache_dir=far.cache) if cached else far.open()
    assert (len(store), store.num_tokens, store.fingerprint) == (len(near), near.num_tokens, near.fingerprint)
    assert repr(store) == f"TokenStore('{far.url}', {COUNT} records, 'bytes')"
    np.testing.assert_array_equal(store.lengths, near.lengths, strict=True)
    drawn = np.random.default_rng(3).integers(0, COUNT, 700)
    for indices in (np.arange(COUNT), drawn, np.array([7]), np.array([], np.int64)):
        assert store.take(indices) == near.take(indices)
        found, wanted = (gathered(each, indices, ["spans"]) for each in (store, near))
        assert contents([found]) == contents([wanted])
    np.testing.assert_array_equal(store[-1], near[-1], strict=True)
    np.testing.assert_array_equal(store.spans(5), near.spans(5), strict=True)
    assert store.text(3) == near.text(3)
    assert store.source_row(400) == near.source_row(400)
    np.testing.assert_array_equal(store.supervised, near.supervised, strict=True)


@pytest.mark.parametrize("kind", DATASETS)
def test_every_dataset_gives_the_same_stream(near, far, kind):
    store = far.open(cache_dir=far.cache)
    assert_same_stream(DATASETS[kind](store), DATASETS[kind](near))
    parts = [each.split({"train": 0.7, "rest": None}, seed=2)["train"] for each in (store, near)]
    assert parts[0].fingerprint == parts[1].fingerprint
    assert_same_stream(*map(DATASETS[kind], parts))


def test_a_mixture_of_far_and_near_gives_the_same_stream(near, far):
    mixed, wanted = mix([(far.open(), 1), (near, 1.5)]), mix([(near, 1), (near, 1.5)])
    assert_same_stream(DATASETS["tokens"](mixed), DATASETS["tokens"](wanted))


@pytest.mark.slow
@pytest.mark.parametrize("near", ["arrow"], indirect=True)
def test_every_token_comes_once_and_runs_go_on_anywhere(far):
    store = far.open(cache_dir=far.cache)
    assert_exactly_once(lambda **world: DATASETS["tokens"](store, **world), 3)
    assert_resumes_everywhere(lambda: DATASETS["rows"](store), epochs=(1,))


def test_a_state_from_a_directory_goes_on_in_a_bucket(near, far):
    here, there = DATASETS["rows"](near), DATASETS["rows"](far.open())
    iterator = iter(here)
    next(iterator)
    there.load_state_dict(here.state_dict())
    assert contents(there) == contents(iterator)


def gets(proxy):
    return [request for request in proxy.requests if request.startswith(b"GET /") and b"list-type" not in request]


def test_a_plan_needs_the_index_alone_which_is_fetched_once(near, far, before, own_cache):
    proxy = before(lambda *_: None)
    through = {"endpoint_url": proxy.address}
    store = far.open(options=through)
    assert len(store) == COUNT
    assert len(gets(proxy)) == 1, "the manifest"
    dataset = DATASETS["tokens"](store)
    assert (len(dataset), dataset.shapes) == (len(DATASETS["tokens"](near)), DATASETS["tokens"](near).shapes)
    index = len(gets(proxy)) - 1
    assert 8 <= index <= 40
    again = far.open(options=through)
    np.testing.assert_array_equal(again.lengths, near.lengths, strict=True)
    assert len(gets(proxy)) == 1 + index + 1
    known = far.open(options=through, fingerprint=near.fingerprint, verify="none")
    asked = len(proxy.requests)
    np.testing.assert_array_equal(known.lengths, near.lengths, strict=True)
    assert len(proxy.requests) == asked, "whoever knows the fingerprint asks nobody"
    assert sorted(path.name for path in own_cache.iterdir()) == ["indexes"], "no tokens are kept"


def test_a_first_batch_takes_two_round_trips_on_a_warm_index(near, far, before):
    far.open().lengths.sum()
    proxy = before(lambda *_: None)
    store = far.open(options={"endpoint_url": proxy.address})
    store.take([3])
    assert len(proxy.requests) == 3, "the manifest and beside it the sizes of the files; a block"


def test_a_listing_from_before_a_writer_finished_is_no_damage(near, far, monkeypatch):
    sizes, before = ObjectStorage.sizes, iter([{"shard-00000.arrow": 1}])
    monkeypatch.setattr(ObjectStorage, "sizes", lambda self: next(before, None) or sizes(self))
    assert far.open().fingerprint == near.fingerprint
    assert list(before) == []


@pytest.mark.parametrize("kind", ["padded", "shifted", "flat"])
def test_an_epoch_fetches_each_block_once_without_a_cache(near, far, kind):
    store = far.open()
    loader = StreamLoader(*COLLATED[kind](store))
    for _ in loader:
        pass
    assert sum(-(-shard.tokens * 2 // BLOCK_BYTES) for shard in near.manifest.shards) > 4
    assert loader.stats.reads.bytes_read == near.token_bytes


PROGRAM = """
import sys, numpy as np
from fastcollate import TokenStore
store = TokenStore(sys.argv[1], cache_dir=sys.argv[3], storage_options={"key": "a", "secret": "b", "region":
    "us-east-1", "endpoint_url": sys.argv[2]})
print("begun", flush=True)
print(int(store.lengths.sum()), int(store.take(np.arange(len(store))).values.sum()), flush=True)
"""


@pytest.mark.parametrize("near", ["arrow"], indirect=True)
def test_processes_killed_at_any_moment_leave_a_cache_that_is_right(near, far, server):
    """Each fetches index and tokens into one directory, and is killed a little later than the one before."""
    arguments = [sys.executable, "-c", PROGRAM, far.url, server, str(far.cache)]
    for pause in (0.01, 0.05):
        two = [subprocess.Popen(arguments, stdout=subprocess.PIPE) for _ in range(2)]
        for program in two:
            program.stdout.readline()
        time.sleep(pause)
        for program in two:
            program.kill()
            program.communicate()
    assert far.open(cache_dir=far.cache).take(np.arange(COUNT)) == near.take(np.arange(COUNT))


def test_any_corpus_may_be_a_url(near, far):
    assert open_corpus(far.url, storage_options=far.options).take([4, 2]) == near.take([4, 2])


def test_a_store_travels_to_another_process(near, far):
    part = far.open(cache_dir=far.cache).split({"some": 0.5, "rest": None})["rest"]
    there = pickle.loads(pickle.dumps(part))
    assert there.take(np.arange(len(part))) == near.take(np.arange(COUNT - len(part), COUNT))


def test_full_checks_read_all_of_it(near, far):
    far.open(verify="full").verify()
    name = near.manifest.shards[1].files[0].name
    data = bytearray((near.path / name).read_bytes())
    data[near.manifest.shards[1].places["input_ids"][1] + 40] ^= 1
    open_storage(far.url, far.options).put(name, bytes(data))
    with pytest.raises(StoreCorruptError, match=f"{far.url}/{name} has changed since it was written"):
        far.open(verify="full")
    with pytest.raises(StoreCorruptError, match=f"{far.url}/{name} has changed since it was written"):
        far.open().verify()


def test_what_is_missing_or_cut_is_told_when_it_is_opened(near, far):
    there = open_storage(far.url, far.options)
    name = near.manifest.shards[2].files[0].name
    there.put(name, b"1")
    with pytest.raises(StoreCorruptError, match=f"{name} has 1 bytes where the manifest has"):
        far.open()
    there.delete(name)
    with pytest.raises(StoreCorruptError, match=f"{far.url}/{name} is missing"):
        far.open()
    assert len(far.open(verify="none")) == COUNT
    there.delete("manifest.json")
    with pytest.raises(StoreError, match=r"has no manifest.json: its writer was stopped"):
        far.open()


def test_a_damaged_copy_of_the_index_is_told_before_an_epoch_ends(near, far, own_cache):
    far.open().lengths.sum()
    [index] = own_cache.glob("indexes/*/shard-00001.index")
    data = bytearray(index.read_bytes())
    data[-80] ^= 1
    index.write_bytes(data)
    with pytest.raises(StoreCorruptError, match=r"shard-00001.index has changed .* delete that file, and it is"):
        list(DATASETS["rows"](far.open()))
    index.write_bytes(data[:-1])
    with pytest.raises(StoreCorruptError, match=r"shard-00001.index has \d+ bytes where"):
        far.open().lengths.sum()
    index.unlink()
    assert_same_stream(DATASETS["rows"](far.open()), DATASETS["rows"](near))


def test_what_needs_files_refuses_a_url(near, far, tmp_path):
    with pytest.raises(StoreError, match="is not on this machine, and this needs its files"):
        merge([far.open(), near], tmp_path / "both")


def test_arguments_of_a_cache_are_for_urls_and_sizes_for_a_directory(near, far, tmp_path):
    with pytest.raises(InputError, match=r"cache_dir is 'x' for .*, which is on this machine: leave"):
        TokenStore(near.path, cache_dir="x")
    with pytest.raises(InputError, match="cache_bytes is 100000000 without a cache_dir"):
        far.open(cache_bytes=10**8)
    with pytest.raises(InputError, match="cache_bytes"):
        far.open(cache_dir=tmp_path, cache_bytes=5)
    with pytest.raises(StoreError, match="stores are in directories, or at s3://"):
        TokenStore("http://x.org/store")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        far.open(cache_dir=tmp_path / "file")
