"""`StreamLoader` end to end on the CPU, against a bare loop over the same dataset and collator."""

import pytest
import torch

from benchmarks.harness.corpora import make_store
from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    StoreWriter,
    StreamLoader,
    TokenStore,
    mix,
)


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
def test_many_shards_and_mixtures_stream_as_one_shard_does(race, tmp_path, full_size, kind, rows):
    records = 200_000 if full_size else 2_000
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


def test_packs_stream_beside_rows(race, any_corpus):
    name, store = any_corpus

    def rows():
        return StreamLoader(BucketedDataset(store, batch_size=32), PaddingCollator(256))

    def packs():
        dataset = PackedDataset(store, length=2048, batch_size=8, overlong="split")
        return StreamLoader(dataset, PackingCollator(256))

    race(f"stream of packs, of rows: {name}", store.num_tokens, lambda: all_of(rows()), lambda: all_of(packs()))


def all_of(loader):
    with loader:
        for _ in loader:
            pass


def copy_of(store, path, first, last, records_per_shard):
    """Some records of a store as another, in shards of this size."""
    with StoreWriter(path, encoding="bytes", records_per_shard=records_per_shard) as writer:
        writer.append(store.take(range(first, last)))
    return TokenStore(path)
