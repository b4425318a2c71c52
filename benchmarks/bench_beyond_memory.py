"""Corpora that memory does not hold: the disk alone, and the whole pipeline within a true memory limit."""

import json
import mmap
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.memory_limit import drop_from_cache, memory_limit
from fastcollate import BucketedDataset, Ragged, StoreWriter, TokenStore
from fastcollate.dataset import announced

RECORD = 400  # bytes: 200 tokens
SECONDS = 4.0
LIMIT = 800  # MB of which Python and torch have about 300
BLOCK = 512  # records: about 256 KiB
BLOCKS = [16 << 10, 64 << 10, 256 << 10]
BEYOND = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader, TokenStore
from fastcollate.dataset import announced

path, block, seconds, ahead = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "ahead"
if not ahead:
    announced.memory_room = lambda: None
store = TokenStore(path, verify="none")
assert announced.is_beyond_memory(store) == ahead
loader = StreamLoader(BucketedDataset(store, batch_size=32, shuffle_block=block), PaddingCollator(256))
batches = iter(loader)
begun = time.perf_counter()
next(batches)
first, begun, before = time.perf_counter() - begun, time.perf_counter(), loader.stats.tokens
for _ in batches:
    if time.perf_counter() - begun > seconds:
        break
took, reads = time.perf_counter() - begun, loader.stats.reads
rates = {"tokens": (loader.stats.tokens - before) / took, "records": 32 * loader.stats.batches / took}
costs = {"amplification": reads.bytes_read / max(1, reads.bytes_used), "waited": reads.seconds_waited / took}
print(json.dumps({**rates, **costs, "first": first}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory, sized):
    """A store of about 2 GB, 300 MB in a quick run; 100 kB as a test."""
    path, records = tmp_path_factory.mktemp("large") / "store", sized(5_000_000, 1_000_000, 250)
    draw, lengths = np.random.default_rng(0), None
    with StoreWriter(path, encoding="bytes") as writer:
        for begin in range(0, records, 100_000):
            lengths = draw.lognormal(5.15, 0.5, min(100_000, records - begin)).astype(np.int64).clip(2, 4000)
            offsets = np.append(0, np.cumsum(lengths))
            writer.append(Ragged(draw.integers(0, 250, offsets[-1], dtype=np.uint16), offsets))
    return path


def rate_of(read, places, seconds):
    """How many of the places `read` gets through in a second; it takes some at a time."""
    begun, done = time.perf_counter(), 0
    for some in np.array_split(places, max(1, len(places) // 64)):
        read(some.tolist())
        done += len(some)
        if time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)


def largest_file(store):
    return max(store.glob("*.arrow"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("advice", ["NORMAL", "RANDOM"])
def test_page_faults_of_records_at_random(figure, large, sized, advice):
    path = largest_file(large)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        mapping.madvise(getattr(mmap, f"MADV_{advice}"))
        places = np.random.default_rng(1).integers(0, len(mapping) - RECORD, sized(400_000, 100_000, 99))
        drop_from_cache(path)
        rate = rate_of(
            lambda some: [mapping[at : at + RECORD] for at in some], places, sized(SECONDS, SECONDS, 0.1)
        )
    figure(f"disk: page faults, {advice.lower()} advice, records of {RECORD} bytes", rate, "records/s")


@pytest.mark.parametrize("size", [RECORD, *BLOCKS])
def test_reads_of_eight_threads_at_random(figure, large, sized, size):
    path = largest_file(large)
    drop_from_cache(path)
    end = max(1, path.stat().st_size - size)
    places = np.random.default_rng(2).integers(0, end, sized(400_000, 100_000, 99))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        with ThreadPoolExecutor(8) as threads:

            def read(some):
                list(
                    threads.map(
                        lambda part: [os.pread(descriptor, size, at) for at in part], np.array_split(some, 8)
                    )
                )

            rate = rate_of(read, places, sized(SECONDS, SECONDS, 0.1))
    finally:
        os.close(descriptor)
    name = f"disk: 8 threads, pieces of {size >> 10} KiB" if size > RECORD else f"disk: 8 threads, {RECORD} bytes"
    figure(name, rate if size == RECORD else rate * size / 1e6, "records/s" if size == RECORD else "MB/s")


@pytest.mark.filterwarnings("ignore:every record is shuffled alone")
@pytest.mark.parametrize("block", [1, BLOCK])
def test_batches_read_ahead_are_the_same(large, sized, monkeypatch, block):
    def begin():
        dataset = BucketedDataset(TokenStore(large, verify="none"), batch_size=32, shuffle_block=block)
        return [batch.tokens.to_ragged() for batch in islice(dataset, sized(4000, 4000, 99))]

    usual = begin()
    monkeypatch.setattr(announced, "is_beyond_memory", lambda _: True)
    assert begin() == usual


@pytest.mark.parametrize("how", ["ahead", "as mapped"])
@pytest.mark.parametrize("block", [1, BLOCK])
def test_the_pipeline_within_a_memory_limit(figure, large, sized, block, how):
    limit = sized(LIMIT, 500, None)
    if limit is None:
        pytest.skip("a store at toy size fits into any limit")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with memory_limit(limit) as run:
        drop_from_cache(*(path for path in large.iterdir() if path.is_file()))
        told = json.loads(run([sys.executable, "-c", BEYOND, large, block, 3 * SECONDS, how], env=environment))
    name = f"beyond memory: {'full shuffle' if block == 1 else f'blocks of {block}'}, {how}"
    figure(name, told["records"], "records/s")
    figure(f"{name}: tokens", told["tokens"] / 1e6, "M tokens/s")
    if how == "ahead":
        figure(f"{name}: read", told["amplification"], "bytes read per byte used")
        figure(f"{name}: waited", 100 * told["waited"], "% of the time")
        figure(f"{name}: first batch", told["first"], "s")
