"""Packing: how full packs are, how fast they are planned beside TRL's packer, and what collating them costs."""

import statistics
import time

import numpy as np
import pytest
import torch
from floors import WINDOW, share_of_sorting
from timing import seconds

from fastcollate import PackedDataset, PackingCollator
from fastcollate.plan.packs import PackPlan

LENGTH = 2048
DISTRIBUTIONS = {"short": (4.6, 0.6, 1024), "long-tailed": (5.5, 1.2, LENGTH)}


def plan_over(lengths, strategy="best_fit"):
    return PackPlan(
        num_records=len(lengths),
        lengths_at=lambda ids: lengths[ids],
        batch_size=1,
        shuffle=True,
        seed=0,
        epoch=0,
        window=WINDOW,
        drop_last=False,
        group=1,
        length=LENGTH,
        strategy=strategy,
        overlong="error",
    )


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


@pytest.mark.filterwarnings("default")  # what the peer's own imports warn of is no failure of ours
@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
def test_against_trls_packer(race, figure, full_size, name):
    trl = pytest.importorskip("trl", reason="the peer is not installed: pip install trl")
    datasets = pytest.importorskip("datasets")
    lengths = drawn(name, 40_000 if full_size else 2_000)
    rows = datasets.Dataset.from_dict({"input_ids": [[1] * n for n in lengths.tolist()]})
    packed = trl.pack_dataset(rows, seq_length=LENGTH, strategy="bfd")
    assert sum(map(len, packed["input_ids"])) == int(lengths.sum())
    figure(f"TRL's packing efficiency, bfd, {name}", 100 * lengths.sum() / (len(packed) * LENGTH), "%")
    race(
        f"TRL's bfd (records, not tokens): {name}, packs planned",
        len(lengths),
        lambda: trl.pack_dataset(
            rows, seq_length=LENGTH, strategy="bfd", map_kwargs={"load_from_cache_file": False}
        ),
        lambda: list(plan_over(lengths).windows()),
    )


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
    share = {"limit": "filling its tensors", "share": 1 / statistics.median(ratios)}
    figure(f"collating 8 x {LENGTH} packs, {name}, over filling its tensors", ratios, "times", **share)
