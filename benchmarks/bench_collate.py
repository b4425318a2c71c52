"""Collating rows of a store, against the notebook's function and a NumPy row loop; equal output first."""

from functools import partial
from itertools import islice

import pytest
import torch

from benchmarks.harness.baselines import notebook_collate, row_loop
from fastcollate import BucketedDataset, PaddingCollator, padded_collate

PAD = 256
COLLATE = PaddingCollator(PAD, end_token_id=PAD, shift_labels=True, as_tuple=True)


def batches_of(store, batch_size, *, bucketed, cells):
    """Batches spread over an epoch, of about `cells` tokens together."""
    dataset = BucketedDataset(store, batch_size=batch_size, window=65_536 if bucketed else batch_size)
    count = max(2, cells // int(batch_size * store.num_tokens / len(store)))
    return list(islice(dataset, min(count, len(dataset))))


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype == torch.int64
        assert torch.equal(ours, theirs)


def each(collate, batches):
    """Make every batch and let it go, as a training loop does."""
    for batch in batches:
        collate(batch)


def tokens_in(batches):
    return sum(int(batch.lengths.sum()) for batch in batches)


@pytest.mark.parametrize("batch_size", [8, 32, 256])
@pytest.mark.parametrize("bucketed", [True, False], ids=["bucketed", "unbucketed"])
def test_against_a_row_loop(race, any_corpus, full_size, batch_size, bucketed):
    name, store = any_corpus
    batches = batches_of(store, batch_size, bucketed=bucketed, cells=2_000_000 if full_size else 20_000)
    for batch in batches:
        assert_equal(COLLATE(batch), row_loop(batch, PAD))
    race(
        f"row loop: {name}, batch {batch_size}, {'bucketed' if bucketed else 'unbucketed'}",
        tokens_in(batches),
        lambda: each(partial(row_loop, pad=PAD), batches),
        lambda: each(COLLATE, batches),
    )


@pytest.mark.parametrize("bucketed", [True, False], ids=["bucketed", "unbucketed"])
def test_against_the_notebook(race, any_corpus, full_size, bucketed):
    name, store = any_corpus
    batches = batches_of(store, 32, bucketed=bucketed, cells=400_000 if full_size else 20_000)
    rows = [[batch[i].tolist() for i in range(len(batch))] for batch in batches]
    for batch, lists in zip(batches, rows, strict=True):
        assert_equal(COLLATE(batch), notebook_collate(lists, PAD))
    race(
        f"notebook: {name}, batch 32, {'bucketed' if bucketed else 'unbucketed'}",
        tokens_in(batches),
        lambda: each(partial(notebook_collate, pad=PAD), rows),
        lambda: each(COLLATE, batches),
    )


def test_the_drop_in_on_lists_of_python_integers(race, any_corpus, full_size):
    name, store = any_corpus
    batches = batches_of(store, 32, bucketed=False, cells=400_000 if full_size else 20_000)
    rows = [[batch[i].tolist() for i in range(len(batch))] for batch in batches]
    for lists in rows:
        assert_equal(padded_collate(lists, PAD), notebook_collate(lists, PAD))
    race(
        f"padded_collate on lists: {name}, batch 32",
        tokens_in(batches),
        lambda: each(partial(notebook_collate, pad=PAD), rows),
        lambda: each(partial(padded_collate, pad_token_id=PAD), rows),
    )
