"""Packing: how full packs are and how fast they are planned, TRL's beside ours, and what collating costs."""

import itertools
import statistics
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.harness.floors import WINDOW, share_of_sorting
from benchmarks.harness.timing import seconds
from fastcollate import PackedDataset, PackingCollator, Ragged, StoreWriter, TokenStore
from fastcollate.plan.planning import plan_packs

LENGTH = 2048
DISTRIBUTIONS = {"short": (4.6, 0.6, 1024), "long-tailed": (5.5, 1.2, LENGTH)}


def plan_over(lengths, strategy):
    records = SimpleNamespace(lengths_at=lambda ids: lengths[ids])
    histogram = np.unique(lengths, return_counts=True)
    return plan_packs(histogram, records, length=LENGTH, strategy=strategy, window=WINDOW)


def drawn(name, records):
    mu, sigma, longest = DISTRIBUTIONS[name]
    return np.clip(np.random.default_rng(0).lognormal(mu, sigma, records), 8, longest).astype(np.int64)


@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_packs_are_full_and_planned_quickly(figure, full_size, name, strategy):
    lengths = drawn(name, 400_000 if full_size else 4_000)
    plan = plan_over(lengths, strategy)
    plan.plan_window(0)
    begun = time.perf_counter()
    windows = [window for _, window in plan.windows()]
    took = time.perf_counter() - begun
    packs = sum(len(window) for window in windows)
    assert sum(int(window.whole.pieces.lengths.sum()) for window in windows) == int(lengths.sum())
    figure(f"packing efficiency, {strategy}, {name}, length {LENGTH}", 100 * lengths.sum() / (packs * LENGTH), "%")
    share = share_of_sorting(plan.lengths_at, len(lengths), took * min(WINDOW, len(lengths)) / len(lengths))
    figure(f"packing planned, {strategy}, {name}", len(lengths) / took / 1e6, "M records a second", **share)


@pytest.fixture
def written(tmp_path, full_size):
    """`written(name)`: a store of a distribution, and the same rows as lists."""

    def write(name):
        lengths = drawn(name, 40_000 if full_size else 2_000)
        rows = np.split(np.arange(lengths.sum()) % 256, np.cumsum(lengths)[:-1])
        with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
            writer.append(Ragged.from_rows(rows, np.uint16))
        return TokenStore(tmp_path / "store"), [row.tolist() for row in rows]

    return write


@pytest.mark.filterwarnings("default")  # what the peer's own imports warn of is no failure of ours
@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
def test_against_trls_packer(race, figure, written, name):
    """Both make every pack's tokens, side by side; TRL in `map` batches of our windows' size, and of its own."""
    trl = pytest.importorskip("trl", reason="the peer is not installed: pip install trl")
    datasets = pytest.importorskip("datasets")
    store, rows = written(name)
    listed = datasets.Dataset.from_dict({"input_ids": rows})
    dataset = PackedDataset(store, length=LENGTH, batch_size=1)

    def theirs(**keywords):
        return trl.pack_dataset(
            listed, seq_length=LENGTH, strategy="bfd", map_kwargs={"load_from_cache_file": False, **keywords}
        )

    def ours():
        return [batch.tokens.to_ragged().values for batch in dataset]

    at_once, in_thousands, packed = theirs(batch_size=WINDOW), theirs(), ours()
    held = np.bincount(np.concatenate(packed), minlength=256)
    for found in (at_once, in_thousands):
        assert np.array_equal(np.bincount(np.concatenate(found["input_ids"]), minlength=256), held)
        assert sorted(itertools.chain(*found["seq_lengths"])) == sorted(store.lengths.tolist())
    for title, count in (
        (f"TRL's packing efficiency, bfd, {name}", len(in_thousands)),
        (f"TRL's packing efficiency, bfd, {name}, {WINDOW:,} records at once", len(at_once)),
        (f"packing efficiency beside TRL's, {name}", len(packed)),
    ):
        figure(title, 100 * store.num_tokens / (count * LENGTH), "%")
    race(f"TRL's bfd: {name}, packs made", store.num_tokens, lambda: theirs(batch_size=WINDOW), ours)


def test_collating_packs_costs_little_more_than_filling_them(figure, corpus, rounds):
    name, store = corpus
    dataset = PackedDataset(store, length=LENGTH, batch_size=8, overlong="split")
    batches = [batch for batch, _ in zip(dataset, range(20), strict=False)]
    collate = PackingCollator(256)
    made = [collate(batch) for batch in batches]
    assert sum(batch.num_tokens for batch in made) == sum(int(batch.lengths.sum()) for batch in batches)

    def fill():
        for batch in made:
            _ = [torch.full(tensor.shape, 1) for tensor in batch.values()]  # all at once, as in a batch

    def ours():
        for batch in batches:
            collate(batch)

    ratios = [seconds(ours) / seconds(fill) for _ in range(rounds)]
    share = {"limit": "filling new tensors with a constant", "share": 1 / statistics.median(ratios)}
    figure(f"collating 8 x {LENGTH} packs, {name}, over filling its tensors", ratios, "times", **share)
