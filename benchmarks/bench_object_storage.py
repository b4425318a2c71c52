"""A store in a bucket 30 ms away beside the same one on the local disk, with blocks of several sizes.

Then a trainer that asks for so many tokens a second and no more, and several processes of one node or of several.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_scale import write_tiny
from benchmarks.harness.slow_bucket import slow_bucket
from fastcollate import BucketedDataset, PaddingCollator, Ragged, StoreWriter, StreamLoader, TokenStore
from fastcollate.storage.network.kept_blocks import kept_blocks

pytest.importorskip("obstore", reason="needs the extra cloud: pip install 'fastcollate[cloud]'")
pytestmark = pytest.mark.filterwarnings("ignore:.*waiting for storage")  # as fast as can be, it waits
LATENCY = 0.03  # seconds
TOKENS = 250  # of a record, in the mean: 500 bytes
BLOCKS = [256 << 10, 1 << 20, 4 << 20]
DEMAND = 10e6  # tokens a second of a trainer
LANES = 8
RANK = """
import json, sys, warnings
from fastcollate import BucketedDataset, TokenStore
warnings.simplefilter("ignore")
url, options, cache, rank, world_size, lanes, block = (json.loads(given) for given in sys.argv[1:])
store = TokenStore(url, storage_options=options, cache_dir=cache)
place = {"rank": rank, "world_size": world_size, "lanes": lanes}
dataset = BucketedDataset(store, batch_size=32, shuffle_block=block, drop_last=False, **place)
print(json.dumps(sum(int(batch.tokens.lengths.sum()) for batch in dataset)))
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory, sized):
    """A store of about 500 MB, 125 MB in a quick run; 1 MB as a test."""
    path, records = tmp_path_factory.mktemp("bucket") / "store", sized(1_000_000, 250_000, 2_000)
    draw = np.random.default_rng(0)
    with StoreWriter(path, encoding="bytes", records_per_shard=max(500, records // 8)) as writer:
        for begin in range(0, records, 50_000):
            lengths = draw.lognormal(5.4, 0.5, min(50_000, records - begin)).astype(np.int64).clip(2, 4000)
            offsets = np.append(0, np.cumsum(lengths))
            writer.append(Ragged(draw.integers(0, 250, offsets[-1], dtype=np.uint16), offsets))
    return TokenStore(path)


@pytest.fixture(scope="module")
def bucket(local):
    with slow_bucket(local.path, LATENCY) as running:
        yield running


def loader_of(store, block):
    dataset = BucketedDataset(store, batch_size=32, shuffle_block=max(1, block // (2 * TOKENS)))
    return StreamLoader(dataset, PaddingCollator(256))


def epoch(store, block):
    """Seconds to the first batch and of the whole epoch, its tokens, and a sum that tells epochs apart."""
    loader = loader_of(store, block)
    begun, first, total = time.perf_counter(), None, 0
    for number, batch in enumerate(loader, 1):
        first = first or time.perf_counter() - begun
        total += number * int(batch["input_ids"].sum())
    return first, time.perf_counter() - begun, loader.stats, total


@pytest.mark.parametrize("cached", [False, True], ids=["straight", "first epoch through a cache"])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block >> 10} KiB")
def test_a_bucket_against_the_local_disk(figure, local, bucket, block, cached):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTCOLLATE_CACHE_DIR", folder)
        kept_blocks.cache_clear()  # as in a new process
        compare(figure, local, bucket, block, {"cache_dir": f"{folder}/cache"} if cached else {})


def compare(figure, local, bucket, block, cache):
    TokenStore(bucket.url, storage_options=bucket.options, **cache).lengths.sum()  # the index, once
    before, begun = {what: bucket.counted(what) for what in ("sent", "asked")}, time.perf_counter()
    far = TokenStore(bucket.url, storage_options=bucket.options, **cache)
    opened = time.perf_counter() - begun
    first, took, stats, total = epoch(far, block)
    sent, asked = (bucket.counted(what) - before[what] for what in ("sent", "asked"))
    near_first, near_took, near_stats, near_total = epoch(local, block)
    assert (total, stats.tokens) == (near_total, near_stats.tokens)
    how = f"blocks of {block >> 10} KiB, {'through a cache' if cache else 'straight'}"
    for name, value, unit in (
        ("delivered", stats.tokens / took / 1e6, "M tokens/s"),
        ("delivered by the local disk", near_stats.tokens / near_took / 1e6, "M tokens/s"),
        ("opening with the index at hand", opened * 1e3, "ms"),
        ("first batch", first * 1e3, "ms"),
        ("first batch of the local disk", near_first * 1e3, "ms"),
        ("bytes fetched for each delivered", sent / local.token_bytes, "bytes"),
        ("requests", float(asked), "requests"),
    ):
        figure(f"{name}, {how}", value, unit, chart="object storage", series=how, latency_ms=1e3 * LATENCY)


def rate_at_demand(store, block, seconds):
    """Tokens a second that a trainer has who is ready for so many, and the part of the time that it waits."""
    loader = loader_of(store, block)
    begun, waited = time.perf_counter(), 0.0
    for _ in loader:
        now = time.perf_counter()
        due = begun + waited + loader.stats.tokens / DEMAND
        waited += max(0.0, now - due)
        time.sleep(max(0.0, due - now))
        if now - begun > seconds:
            break
    took = time.perf_counter() - begun
    return loader.stats.tokens / took, waited / took


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block >> 10} KiB")
def test_a_trainer_that_asks_for_ten_million_tokens_a_second(figure, local, bucket, sized, block):
    kept_blocks.cache_clear()
    far = TokenStore(bucket.url, storage_options=bucket.options)
    far.lengths.sum()  # the index, once
    seconds = sized(20.0, 3.0, 0.1)
    for where, store in (("far", far), ("on the local disk", local)):
        rate, waited = rate_at_demand(store, block, seconds)
        how = f"at a demand of 10 M, {where}, blocks of {block >> 10} KiB"
        figure(f"delivered {how}", rate / 1e6, "M tokens/s")
        figure(f"waited {how}", 100 * waited, "% of the time")


@pytest.mark.parametrize("processes", [(1, 1), (2, 1), (8, 1), (2, 2), (8, 8)], ids=str)
def test_bytes_fetched_for_several_processes(figure, local, bucket, sized, processes):
    """Every process reads its rank's part of an epoch; those of one node share a cache."""
    ranks, nodes = processes
    block, lanes = sized(2_000, 2_000, 20), LANES if nodes > 1 else 1
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        for node in range(nodes):
            TokenStore(bucket.url, storage_options=bucket.options, cache_dir=f"{folder}/{node}").lengths.sum()
        before, started = bucket.counted("sent"), []  # but for the index, which has come to each node
        for rank in range(ranks):
            told = bucket.url, bucket.options, f"{folder}/{rank * nodes // ranks}", rank, ranks, lanes, block
            command = [sys.executable, "-c", RANK, *map(json.dumps, told)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
            started.append(running.enter_context(process))
        tokens = sum(json.loads(process.communicate()[0]) for process in started)
        assert [process.returncode for process in started] == [0] * ranks
    assert tokens == int(local.lengths.sum())
    fetched = (bucket.counted("sent") - before) / local.token_bytes
    name = f"{ranks} rank(s) of one node" if nodes == 1 else f"{nodes} nodes, {LANES} lanes"
    figure(f"bytes fetched for each delivered, {name}", fetched, "bytes")


@pytest.mark.parametrize("exponent", [6, 8])
def test_opening_from_the_kept_index(figure, tmp_path, power_of_ten, exponent):
    """The index is fetched once; whoever opens the store then, finds it, and its first batch, without it."""
    records = power_of_ten(exponent)
    write_tiny(tmp_path / "store", records)
    with slow_bucket(tmp_path / "store", LATENCY) as bucket:
        given = {"storage_options": bucket.options, "cache_dir": tmp_path / "cache"}
        shutil.rmtree(tmp_path / "store")  # the server has it
        begun = time.perf_counter()
        lengths = TokenStore(bucket.url, **given).lengths
        figure(f"fetching the index of 10^{exponent} records", time.perf_counter() - begun, "s")
        begun = time.perf_counter()
        store = TokenStore(bucket.url, **given)
        figure(f"opening 10^{exponent} records from the kept index", time.perf_counter() - begun, "s")
        begun = time.perf_counter()
        batch = next(iter(BucketedDataset(store, batch_size=32)))
        figure(f"first batch of 10^{exponent} records from the kept index", time.perf_counter() - begun, "s")
        np.testing.assert_array_equal(batch.tokens.lengths, lengths[batch.record_ids])
