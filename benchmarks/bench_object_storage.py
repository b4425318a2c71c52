"""A store in a bucket 30 ms away beside the same one on the local disk, with blocks of several sizes."""

import tempfile
import time

import numpy as np
import pytest

from benchmarks.harness.slow_bucket import slow_bucket
from fastcollate import BucketedDataset, PaddingCollator, Ragged, StoreWriter, StreamLoader, TokenStore
from fastcollate.storage.network.kept_blocks import kept_blocks

pytest.importorskip("obstore", reason="needs the extra cloud: pip install 'fastcollate[cloud]'")
LATENCY = 0.03  # seconds
TOKENS = 250  # of a record, in the mean: 500 bytes
BLOCKS = [256 << 10, 1 << 20, 4 << 20]


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


def epoch(store, block):
    """Seconds to the first batch and of the whole epoch, its tokens, and a sum that tells epochs apart."""
    loader = StreamLoader(
        BucketedDataset(store, batch_size=32, shuffle_block=max(1, block // (2 * TOKENS))), PaddingCollator(256)
    )
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
        ("tokens a second", stats.tokens / took / 1e6, "M"),
        ("tokens a second of the local disk", near_stats.tokens / near_took / 1e6, "M"),
        ("opening with the index at hand", opened * 1e3, "ms"),
        ("first batch", first * 1e3, "ms"),
        ("first batch of the local disk", near_first * 1e3, "ms"),
        ("bytes fetched for each delivered", sent / local.token_bytes, "bytes"),
        ("requests", float(asked), "requests"),
    ):
        figure(f"{name}, {how}", value, unit, chart="object storage", series=how, latency_ms=1e3 * LATENCY)
