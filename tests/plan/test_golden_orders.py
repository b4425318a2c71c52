"""The order of every kind of plan, and the bytes of a store, frozen: a change of one is a breaking change.

Whoever changes a digest on purpose says so in `.github/CHANGELOG.md`: runs that are resumed would repeat records.
"""

import hashlib

import numpy as np
import pytest

from fastcollate import BucketedDataset, PackedDataset, Ragged, StoreWriter, TokenStore, mix

LENGTHS = (np.arange(600) * 7919 % 83 + 1).tolist()  # no generator: NumPy promises no streams

ROWS = {"batch_size": 8, "window": 100, "seed": 1}
PACKS = {"batch_size": 2, "window": 100, "seed": 1}
KINDS = {
    "rows": (lambda store: BucketedDataset(store, **ROWS), "171bf3251953"),
    "rows, ranks": (lambda store: BucketedDataset(store, **ROWS, rank=2, world_size=3), "b13726652232"),
    "tokens": (lambda store: BucketedDataset(store, max_tokens=400, window=100, seed=1), "522243c7f0ab"),
    "tokens, ranks": (
        lambda store: BucketedDataset(store, max_tokens=400, window=100, seed=1, rank=2, world_size=3),
        "27f8ebb4c9cc",
    ),
    "widths": (lambda store: BucketedDataset(store, **ROWS, buckets=4), "d4689c7e9254"),
    "blocks": (lambda store: BucketedDataset(store, **ROWS, shuffle_block=16), "945ae70c8fff"),
    "longest first": (lambda store: BucketedDataset(store, **ROWS, longest_first=True), "2fef2af7262a"),
    "best fit": (lambda store: PackedDataset(store, length=128, **PACKS), "b3cf44b70e4d"),
    "split": (lambda store: PackedDataset(store, length=50, overlong="split", **PACKS), "5a96bcf3f73c"),
    "wrap": (lambda store: PackedDataset(store, length=128, strategy="wrap", **PACKS), "6d961683be29"),
    "best fit, ranks": (
        lambda store: PackedDataset(store, length=128, **PACKS, rank=2, world_size=3),
        "3ff53d4f57ed",
    ),
    "wrap, ranks": (
        lambda store: PackedDataset(store, length=128, strategy="wrap", **PACKS, rank=2, world_size=3),
        "82110434e248",
    ),
    "best fit, ranks, as dealt": (
        lambda store: PackedDataset(store, length=128, **PACKS, rank=2, world_size=3, balance=None),
        "83e2aade26a6",
    ),
}
MIXTURE = "8948b58a7c0d"
STORE = "240eec09f161"


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "store"
    with StoreWriter(path, encoding="bytes", records_per_shard=250) as writer:
        writer.append(Ragged.from_rows([[i % 250] * n for i, n in enumerate(LENGTHS)], np.uint16))
    return TokenStore(path)


def digest(dataset):
    """12 hex digits over all batches of two epochs: which records, how long, cut and packed where."""
    found = hashlib.sha256()
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        for batch in dataset:
            cuts = None if batch.cuts is None else batch.cuts.tolist()
            edges = None if batch.packs is None else batch.packs.edges.tolist()
            content = (batch.record_ids.tolist(), batch.lengths.tolist(), batch.width, cuts, edges)
            found.update(repr(content).encode())
    return found.hexdigest()[:12]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_a_plan_is_frozen(golden, kind):
    make, wanted = KINDS[kind]
    assert digest(make(golden)) == wanted


def test_the_order_of_a_mixture_is_frozen(golden):
    mixture = mix([(golden.split({"a": 0.5})["a"], 2.3), (golden, 0.4)])
    assert digest(KINDS["rows"][0](mixture)) == MIXTURE


def test_the_bytes_of_a_store_are_frozen(golden):
    assert golden.fingerprint[:12] == STORE
