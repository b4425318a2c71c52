"""What every foreign format must give: the batches that the same records give from a store, resumed everywhere."""

import pickle

import numpy as np
import torch
from batches import DATASETS
from contracts import assert_exactly_once, assert_resumes_everywhere

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    Ragged,
    StoreWriter,
    TokenStore,
)

COLLATED = {
    "padded": (lambda corpus: BucketedDataset(corpus, batch_size=50), PaddingCollator(256)),
    "shifted": (
        lambda corpus: BucketedDataset(corpus, max_tokens=2000, buckets=4),
        PaddingCollator(256, shift_labels=True, end_token_id=7, max_length=60, as_tuple=True),
    ),
    "packed": (lambda corpus: PackedDataset(corpus, length=256, batch_size=4), PackingCollator(256)),
    "flat": (
        lambda corpus: PackedDataset(corpus, length=256, batch_size=4, strategy="wrap"),
        PackingCollator(256, layout="flat", keys="transformers"),
    ),
}


def documents(count=230, *, end=None, seed=0, most=250):
    """Documents of 1 to 90 tokens below `most`, each with an end token at its end where there is one."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, most, length) for length in rng.integers(1, 90, count)]
    return rows if end is None else [np.append(row, end) for row in rows]


def store_of(path, rows):
    """A store of the same records."""
    with StoreWriter(path, encoding="bytes", records_per_shard=100) as writer:
        writer.append(Ragged.from_rows(rows, np.uint16))
    return TokenStore(path)


def assert_holds(corpus, rows):
    """The corpus has these rows, as they are."""
    assert len(corpus) == len(rows)
    assert corpus.lengths.tolist() == [len(row) for row in rows]
    assert corpus.num_tokens == sum(map(len, rows))
    for found, row in zip(corpus, rows, strict=True):
        assert found.tolist() == list(row)


def assert_is_a_corpus(corpus, store):
    """A corpus does whatever the store of its records does: batches, ranks, resuming, views, other processes."""
    assert_holds(corpus, [row.tolist() for row in store])
    for name, (make, collate) in COLLATED.items():
        for expected, found in zip(map(collate, make(store)), map(collate, make(corpus)), strict=True):
            assert_equal_batches(found, expected, name)
    for name in ("static", "wrap"):
        assert_exactly_once(lambda name=name, **world: DATASETS[name](corpus, **world), 3)
    assert_resumes_everywhere(lambda: DATASETS["packs"](corpus), epochs=(1,))
    parts, same = (source.split({"a": 0.6, "b": None}, seed=3) for source in (corpus, store))
    assert [len(part) for part in parts.values()] == [len(part) for part in same.values()]
    assert [row.tolist() for row in parts["b"]] == [row.tolist() for row in same["b"]]
    sent = pickle.loads(pickle.dumps(parts["b"]))
    assert sent.fingerprint == parts["b"].fingerprint != corpus.fingerprint
    assert [row.tolist() for row in sent] == [row.tolist() for row in same["b"]]


def assert_equal_batches(found, expected, name):
    """To the last token, with their dtypes."""
    if isinstance(expected, tuple):
        found, expected = ({str(place): part for place, part in enumerate(batch)} for batch in (found, expected))
    assert found.keys() == expected.keys(), name
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert found[key].dtype == value.dtype
            assert torch.equal(found[key], value), f"{name}: {key}"
        else:
            assert found[key] == value, f"{name}: {key}"
