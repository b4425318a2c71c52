"""What planning costs, up to 10^8 records; padding beside its bounds, and against the batch size."""

import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.harness.corpora import lengths_of
from benchmarks.harness.floors import WINDOW, share_of_sorting
from fastcollate.plan.planning import plan_buckets
from fastcollate.reports.plan_summary import least_cells, plain_cells, summarise_buckets

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


@pytest.fixture
def on_disk(tmp_path, power_of_ten):
    """`on_disk(exponent)`: the lengths of 10^exponent records, memory-mapped."""
    return lambda exponent: mapped_lengths(tmp_path / "lengths.npy", power_of_ten(exponent))


def plan_over(lengths, **size):
    records = SimpleNamespace(lengths_at=lambda ids: lengths[ids].astype(np.int64))
    histogram = np.array([lengths[: 1 << 20].max()]), np.array([len(lengths)])  # free widths need no more
    return plan_buckets(histogram, records, **size, window=WINDOW, group=8)


def planning_of(plan, numbers):
    """Nanoseconds a record to plan these windows."""
    begun = time.perf_counter()
    planned = sum(len(plan.plan_window(number).record_ids) for number in numbers)
    return (time.perf_counter() - begun) / planned * 1e9


@pytest.mark.parametrize("exponent", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("size", [{"batch_size": 32}, {"max_tokens": 16_384}], ids=["rows", "tokens"])
def test_planning_costs_the_same_at_any_size(figure, on_disk, rounds, exponent, size):
    plan = plan_over(on_disk(exponent), **size)
    numbers = np.unique(np.linspace(0, plan.num_windows - 1, WINDOWS).astype(int)).tolist()
    for number in numbers[:2]:
        plan.plan_window(number)
    nanoseconds = [planning_of(plan, numbers) for _ in range(rounds)]
    tracemalloc.start()
    plan.plan_window(numbers[-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6
    (name,) = size
    facts = {"series": name, "at": 10**exponent}
    windows = [each * min(WINDOW, plan.num_records) / 1e9 for each in nanoseconds]
    share = share_of_sorting(plan.lengths_at, plan.num_records, *windows)
    title = f"planning, {name}, 10^{exponent} records"
    figure(title, nanoseconds, "ns a record", chart="planning", **facts, **share)
    title = f"memory for planning, {name}, 10^{exponent} records"
    figure(title, peak / 1e6, "MB", chart="planning memory", **facts)


def test_padding_beside_its_bounds(figure, corpus):
    name, store = corpus
    for arguments in ({}, {"buckets": 8}):
        plan = plan_buckets(store.length_histogram(), store.at_epoch(0, 0), batch_size=32, **arguments)
        found = summarise_buckets(plan)
        assert found.tokens == store.num_tokens
        title = f"padding, {name}, batch 32{', 8 static widths' if arguments else ''}"
        figure(f"{title}: plan", found.padding * 100, "%")
        figure(
            f"{title}: lower bound", 100 - 100 * found.tokens / least_cells(plan, *store.length_histogram()), "%"
        )
    figure(f"padding, {name}, batch 32: plain loop", 100 - 100 * store.num_tokens / plain_cells(plan, 32), "%")


@pytest.mark.parametrize("batch_size", [4, 8, 16, 32, 64, 128, 256])
def test_padding_against_batch_size(figure, corpus, batch_size):
    kind, store = corpus
    plan = plan_buckets(store.length_histogram(), store.at_epoch(0, 0), batch_size=batch_size)
    found = summarise_buckets(plan)
    assert (found.tokens, found.records) == (store.num_tokens, len(store))
    plain = 100 - 100 * store.num_tokens / plain_cells(plan, batch_size)
    assert 0 <= found.padding * 100 <= plain
    for series, value in (("fastcollate", found.padding * 100), ("shuffled, not sorted", plain)):
        title = f"padding by batch size, {kind}, {series}, {batch_size} rows"
        figure(title, value, "%", chart="padding", panel=kind, series=series, at=batch_size)
