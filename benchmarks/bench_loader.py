"""`StreamLoader` end to end on the CPU, against a bare loop over the same dataset and collator."""

import time
from contextlib import nullcontext
from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks.harness.corpora import make_store
from benchmarks.harness.former import FormerCollator
from benchmarks.harness.mapped_rows import map_array, shuffled_batches, write_rows
from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    Ragged,
    RaggedBatch,
    StoreWriter,
    StreamLoader,
    TokenStore,
    mix,
)
from fastcollate.ragged import Rows


def test_streaming_costs_little_more_than_a_bare_loop(race, any_corpus):
    name, store = any_corpus
    collate = PaddingCollator(256)

    def bare():
        for batch in BucketedDataset(store, batch_size=32):
            collate(batch)

    def stream():
        with StreamLoader(BucketedDataset(store, batch_size=32), collate) as loader:
            for _ in loader:
                pass
            return loader.stats

    expected = (collate(batch) for batch in BucketedDataset(store, batch_size=32))
    loader = StreamLoader(BucketedDataset(store, batch_size=32), collate)
    for found, wanted in zip(loader, expected, strict=True):
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    race(
        f"stream, bare loop: {name}, batch 32",
        store.num_tokens,
        bare,
        stream,
        padding=loader.stats.padding_fraction,
    )


@pytest.mark.parametrize("rows", [8, 32])
@pytest.mark.parametrize("kind", ["8 shards", "a mixture of two"])
def test_many_shards_and_mixtures_stream_as_one_shard_does(race, tmp_path, sized, kind, rows):
    records = sized(200_000, 20_000, 2_000)
    one = make_store(tmp_path / "one", "short", records)
    if kind == "8 shards":
        corpus = copy_of(one, tmp_path / "many", 0, records, records // 8)
    else:
        middle = records // 2
        parts = [(tmp_path / "first", 0, middle), (tmp_path / "second", middle, records)]
        corpus = mix([(copy_of(one, *part, records), 1) for part in parts])

    def loader(source):
        return StreamLoader(BucketedDataset(source, batch_size=rows), PaddingCollator(256))

    for found, wanted in zip(loader(corpus), loader(one), strict=True):
        assert torch.equal(found.record_ids, wanted.record_ids)
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    title = f"stream of {kind}, of one shard: short, batch {rows}"
    race(title, one.num_tokens, lambda: all_of(loader(one)), lambda: all_of(loader(corpus)))


@pytest.mark.parametrize("collator", [FormerCollator, PaddingCollator], ids=["former", "today"])
def test_streaming_against_a_memory_map(race, any_corpus, tmp_path, collator):
    """Shuffled records of a mapped array, handed to a collator batch by batch, without buckets."""
    name, store = any_corpus
    write_rows(store, tmp_path / "rows")
    values, offsets = (map_array(tmp_path / "rows" / f"{part}.npy") for part in ("values", "offsets"))
    collate, ours = collator(256), PaddingCollator(256)

    def mapped():
        for ids in shuffled_batches(len(store), batch_size=32, seed=0):
            starts = offsets[ids]
            yield RaggedBatch(Rows(values, starts, offsets[ids + 1] - starts), ids)

    for batch in islice(mapped(), 50):
        found, wanted = collate(batch), ours(batch)
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    whose = "the former collator" if collator is FormerCollator else "today's collator"
    race(
        f"stream, a memory map and {whose}: {name}, batch 32",
        store.num_tokens,
        lambda: all_of(map(collate, mapped())),
        lambda: all_of(StreamLoader(BucketedDataset(store, batch_size=32), ours)),
    )


@pytest.mark.parametrize("epoch", ["first", "later"])
def test_worker_processes_stream_beside_none(race, any_corpus, epoch):
    """The first epoch of a loader starts its workers; later ones, of loaders that are kept, find them there."""
    name, store = any_corpus

    def loader(workers):
        return StreamLoader(BucketedDataset(store, batch_size=32), PaddingCollator(256), num_workers=workers)

    for found, wanted in zip(loader(2), loader(0), strict=True):
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    title = f"stream, two workers over none: {name}, batch 32, {epoch} epoch"
    if epoch == "first":
        race(title, store.num_tokens, lambda: all_of(loader(0)), lambda: all_of(loader(2)))
        return
    with loader(0) as alone, loader(2) as helped:
        race(title, store.num_tokens, lambda: all_of(iter(alone)), lambda: all_of(iter(helped)))


def sleeping(batch):
    time.sleep(0.005)
    return batch


def computing(batch):
    begun = time.thread_time()
    while time.thread_time() - begun < 0.005:
        pass
    return batch


@pytest.mark.parametrize("collate", [sleeping, computing], ids=["sleeps", "computes"])
def test_worker_processes_share_what_a_foreign_collator_does(race, tmp_path, sized, collate):
    store = make_store(tmp_path / "store", "short", sized(57_600, 1_600, 128))

    def loader(workers):
        return StreamLoader(BucketedDataset(store, batch_size=32), collate, num_workers=workers)

    for found, wanted in zip(loader(2), loader(0), strict=True):
        assert found.record_ids.tolist() == wanted.record_ids.tolist()
    title = f"stream, two workers over none: a collate_fn that is {collate.__name__} for 5 ms"
    race(title, store.num_tokens, lambda: all_of(loader(0)), lambda: all_of(loader(2)))


@pytest.mark.parametrize("rows", [8, 32])
def test_windows_of_one_batch_stream_as_large_ones(race, sized, rows):
    """Records of one length, for which a window of one batch has no more padding."""
    records, length = sized(100_000, 20_000, 1_000), 118
    tokens = np.random.default_rng(0).integers(0, 256, records * length, np.uint16)
    corpus = Ragged(tokens, np.arange(records + 1) * length)

    def loader(window):
        return StreamLoader(BucketedDataset(corpus, batch_size=rows, window=window), PaddingCollator(256))

    assert sum(batch.num_tokens for batch in loader(rows)) == sum(batch.num_tokens for batch in loader(65_536))
    title = f"stream of windows of one batch, of 65,536 records: {length} tokens each, batch {rows}"
    race(title, records * length, lambda: all_of(loader(65_536)), lambda: all_of(loader(rows)))


@pytest.mark.parametrize("layout", [{}, {"layout": "flat", "keys": "transformers"}], ids=["rows", "flat"])
def test_packs_stream_beside_rows(race, any_corpus, layout):
    name, store = any_corpus

    def rows():
        return StreamLoader(BucketedDataset(store, batch_size=32), PaddingCollator(256))

    def packs():
        dataset = PackedDataset(store, length=2048, batch_size=8, overlong="split")
        return StreamLoader(dataset, PackingCollator(256, **layout))

    title = f"stream of {'flat packs for transformers' if layout else 'packs'}, of rows: {name}"
    race(title, store.num_tokens, lambda: all_of(rows()), lambda: all_of(packs()))


def all_of(batches):
    with batches if isinstance(batches, StreamLoader) else nullcontext():
        for _ in batches:
            pass


def copy_of(store, path, first, last, records_per_shard):
    """Some records of a store as another, in shards of this size."""
    with StoreWriter(path, encoding="bytes", records_per_shard=records_per_shard) as writer:
        writer.append(store.take(range(first, last)))
    return TokenStore(path)
