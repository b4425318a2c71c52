"""`StreamLoader` end to end on the CPU, against a bare loop over the same dataset and collator."""

import numpy as np
import pytest
import torch

from benchmarks.harness.corpora import make_store
from fastcollate import BucketedDataset, PaddingCollator, StoreWriter, StreamLoader, TokenStore


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


@pytest.mark.parametrize("rows", [32, 2048])
def test_batches_of_many_shards_against_those_of_one(race, tmp_path, full_size, rows):
    records = 200_000 if full_size else 2_000
    one = make_store(tmp_path / "one", "short", records)
    with StoreWriter(tmp_path / "many", encoding="bytes", records_per_shard=records // 100) as writer:
        writer.append(one.take(range(records)))
    collate = PaddingCollator(256)
    many, one = (store.at_epoch(0, 0) for store in (TokenStore(tmp_path / "many"), one))
    chosen = np.random.default_rng(0).integers(0, records, (100 if full_size else 3, rows))
    for ids in chosen:
        found, wanted = collate(many.gather(ids)), collate(one.gather(ids))
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    race(
        f"gathered from one shard: short, {rows} records of 100 shards",
        int(one.lengths_at(chosen.ravel()).sum()),
        lambda: [collate(one.gather(ids)) and None for ids in chosen],
        lambda: [collate(many.gather(ids)) and None for ids in chosen],
    )
