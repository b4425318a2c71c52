"""Collating rows of a store, against the notebook's function and a NumPy row loop; equal output first."""

from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks.harness.baselines import notebook_collate, row_loop
from benchmarks.harness.compiled import compiled_collate, compiler
from fastcollate import BucketedDataset, PaddingCollator, padded_collate
from fastcollate.collate.staged import new_arrays

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


@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("bucketed", [True, False], ids=["bucketed", "unbucketed"])
def test_against_filling_the_tensors(race, any_corpus, full_size, batch_size, bucketed):
    name, store = any_corpus
    batches = batches_of(store, batch_size, bucketed=bucketed, cells=1_000_000 if full_size else 20_000)
    shapes = [tuple(COLLATE(batch)[0].shape) for batch in batches]
    race(
        f"filling two tensors: {name}, batch {batch_size}, {'bucketed' if bucketed else 'unbucketed'}",
        tokens_in(batches),
        lambda: fill_new(shapes),
        lambda: each(COLLATE, batches),
        limit="filling two new int64 tensors with a constant",
    )


def test_parcels_against_filling_the_tensors(race, any_corpus, full_size):
    name, store = any_corpus
    dataset = BucketedDataset(store, batch_size=32)
    parcels = list(islice(dataset.parcels(dataset.begin().start, columns=()), 2, 60 if full_size else 4))
    made = [batch for parcel in parcels for batch in COLLATE.collate(parcel, new_arrays)]
    expected = [batch for parcel in parcels for batch in map(COLLATE, parcel.side_by_side().batches())]
    for found, wanted in zip(made, expected, strict=True):
        assert_equal(found, wanted)
    shapes = [tuple(inputs.shape) for inputs, _ in made]
    del made, expected

    def ours():
        for parcel in parcels:
            COLLATE.collate(parcel, new_arrays)

    race(
        f"filling two tensors: {name}, parcels of batches of 32, bucketed",
        sum(int(parcel.tokens.lengths.sum()) for parcel in parcels),
        lambda: fill_new(shapes),
        ours,
        limit="filling two new int64 tensors with a constant",
    )


@pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("batch_size", [8, 32])
def test_a_compiled_kernel_beside_ours(race, corpus, full_size, batch_size, tmp_path):
    name, store = corpus
    batches = batches_of(store, batch_size, bucketed=True, cells=1_000_000 if full_size else 20_000)
    compiled = partial(compiled_collate(tmp_path), pad=PAD)
    for batch in batches:
        assert_equal(compiled(batch), COLLATE(batch))
    title = f"a kernel in C over ours: {name}, batch {batch_size}, bucketed"
    race(title, tokens_in(batches), lambda: each(COLLATE, batches), lambda: each(compiled, batches))


def fill_new(shapes):
    for shape in shapes:
        for array in (np.empty(shape, np.int64), np.empty(shape, np.int64)):
            array.fill(1)
