"""Datasets of every kind, the collators that go with them, and all that a batch holds, comparable."""

import torch

from fastcollate import BucketedDataset, PackedDataset, PackingCollator, PaddingCollator, RaggedBatch

DATASETS = {
    "rows": lambda store, **world: BucketedDataset(store, batch_size=20, window=200, **world),
    "tokens": lambda store, **world: BucketedDataset(store, max_tokens=1500, window=150, **world),
    "static": lambda store, **world: BucketedDataset(store, max_tokens=1500, buckets=4, window=150, **world),
    "packs": lambda store, **world: PackedDataset(store, length=300, batch_size=2, window=150, **world),
    "wrap": lambda store, **world: PackedDataset(
        store, length=300, batch_size=2, window=150, strategy="wrap", **world
    ),
}
COLLATED = {  # a dataset, and a collator that takes its batches
    "padded": lambda store: (BucketedDataset(store, batch_size=50), PaddingCollator(256, supervise="response")),
    "shifted": lambda store: (
        BucketedDataset(store, max_tokens=2000, buckets=4),
        PaddingCollator(256, shift_labels=True, end_token_id=7, max_length=220, as_tuple=True),
    ),
    "packed": lambda store: (PackedDataset(store, length=256, batch_size=4), PackingCollator(256)),
    "flat": lambda store: (
        PackedDataset(store, length=256, batch_size=4, strategy="wrap"),
        PackingCollator(256, layout="flat", keys="transformers", supervise="response"),
    ),
}


def content(batch):
    """All that a batch holds and knows, whether it is ragged, collated or a tuple of tensors."""
    if isinstance(batch, RaggedBatch):
        return _ragged(batch)
    if isinstance(batch, tuple):
        return [(tensor.dtype, tensor.tolist()) for tensor in batch]
    held = [
        (name, (value.dtype, value.is_contiguous(), value.tolist()) if isinstance(value, torch.Tensor) else value)
        for name, value in batch.items()
    ]
    return held, batch.record_ids.tolist(), batch.num_tokens, batch.num_supervised


def contents(batches):
    """That of each batch."""
    return [content(batch) for batch in batches]


def outlines(batches):
    """Which records are in each, how long and how wide: plain JSON."""
    return [[batch.record_ids.tolist(), batch.lengths.tolist(), batch.width] for batch in batches]


def _ragged(batch):
    rows = {"tokens": batch.tokens, **batch.columns}
    held = [(name, [(row.dtype, row.tolist()) for row in part]) for name, part in rows.items()]
    cuts = None if batch.cuts is None else batch.cuts.tolist()
    edges = None if batch.packs is None else batch.packs.edges.tolist()
    return held, batch.record_ids.tolist(), batch.width, cuts, edges
