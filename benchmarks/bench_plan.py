"""What planning costs, up to 10^8 records, and how soon the first batch is there; padding beside its bounds."""

import time
import tracemalloc

import numpy as np
import pytest
from corpora import lengths_of

from fastcollate import BucketedDataset, PaddingCollator, Ragged, StoreWriter, StreamLoader, TokenStore
from fastcollate.plan.epoch import EpochPlan
from fastcollate.plan.summary import least_cells, plain_cells, summarise_plan

WINDOWS = 24  # planned of each epoch, spread over it


def mapped_lengths(path, records):
    """uint16[records] on disk, memory-mapped: planning touches them at random."""
    lengths = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(records,))
    few = lengths_of("short", min(records, 1 << 20)).astype(np.uint16)
    for begin in range(0, records, len(few)):
        part = lengths[begin : begin + len(few)]
        part[:] = few[: len(part)]
    lengths.flush()
    return np.load(path, mmap_mode="r").view(np.ndarray)


def plan_over(lengths, **changes):
    arguments = {"batch_size": 32, "max_tokens": None, "widths": None, "shuffle": True, "seed": 0, "epoch": 0}
    rest = {"window": 65_536, "drop_last": False, "group": 8}
    fields = {**arguments, **rest, **changes}
    return EpochPlan(num_records=len(lengths), lengths_at=lambda ids: lengths[ids].astype(np.int64), **fields)


@pytest.mark.parametrize("exponent", [5, 6, 7, 8])
@pytest.mark.parametrize(
    "size", [{"batch_size": 32}, {"batch_size": None, "max_tokens": 16_384}], ids=["rows", "tokens"]
)
def test_planning_costs_the_same_at_any_size(figure, tmp_path, full_size, exponent, size):
    records = 10**exponent if full_size else 10 ** (exponent - 3)
    plan = plan_over(mapped_lengths(tmp_path / "lengths.npy", records), **size)
    numbers = np.unique(np.linspace(0, plan.num_windows - 1, WINDOWS).astype(int)).tolist()
    for number in numbers[:2]:
        plan.plan_window(number)
    planned, begun = 0, time.perf_counter()
    for number in numbers:
        planned += len(plan.plan_window(number).record_ids)
    nanoseconds = (time.perf_counter() - begun) / planned * 1e9
    tracemalloc.start()
    plan.plan_window(numbers[-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6
    name = "batch_size" if plan.batch_size else "max_tokens"
    figure(f"planning, {name}, 10^{exponent} records", nanoseconds, "ns a record")
    figure(f"memory for planning, {name}, 10^{exponent} records", peak / 1e6, "MB")


def test_padding_beside_its_bounds(figure, corpus):
    name, store = corpus
    for arguments in ({}, {"buckets": 8}):
        plan = BucketedDataset(store, batch_size=32, **arguments)._plan
        found = summarise_plan(plan)
        assert found.tokens == store.num_tokens
        title = f"padding, {name}, batch 32{', 8 static widths' if arguments else ''}"
        figure(f"{title}: plan", found.padding * 100, "%")
        figure(f"{title}: lower bound", 100 - 100 * found.tokens / least_cells(plan, *store.length_histogram), "%")
    figure(f"padding, {name}, batch 32: plain loop", 100 - 100 * store.num_tokens / plain_cells(plan, 32), "%")


def test_a_large_store_delivers_at_once(figure, tmp_path, full_size):
    records = 10**7 if full_size else 10**4
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        lengths = np.random.default_rng(0).integers(4, 13, records)
        writer.append(Ragged(np.zeros(lengths.sum(), np.uint16), np.concatenate([[0], np.cumsum(lengths)])))
    for verify in ("none", "index"):
        begun = time.perf_counter()
        store = TokenStore(tmp_path / "store", verify=verify)
        figure(f"opening 10^7 records, verify={verify!r}", (time.perf_counter() - begun) * 1e3, "ms")
    begun = time.perf_counter()
    loader = StreamLoader(BucketedDataset(store, batch_size=32), PaddingCollator(256))
    first = next(iter(loader))
    figure("first batch of 10^7 records, from an open store", (time.perf_counter() - begun) * 1e3, "ms")
    state = {**loader.state_dict(), "batch": int(len(loader) * 0.99)}
    loader.close()
    begun = time.perf_counter()
    resumed = StreamLoader(BucketedDataset(store, batch_size=32), PaddingCollator(256))
    resumed.load_state_dict(state)
    later = next(iter(resumed))
    figure("restoring at 99 % of 10^7 records, to the first batch", (time.perf_counter() - begun) * 1e3, "ms")
    assert first.record_ids.tolist() != later.record_ids.tolist()
    assert resumed.state_dict()["batch"] == state["batch"] + 1
