"""`StreamLoader` end to end on the CPU, against a bare loop over the same dataset and collator."""

import torch

from fastcollate import BucketedDataset, PaddingCollator, StreamLoader


def test_streaming_costs_little_more_than_a_bare_loop(race, corpus):
    name, store = corpus
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
