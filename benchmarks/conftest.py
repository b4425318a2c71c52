"""Timing as ratios in one run, and a results file.

    python -m pytest benchmarks --benchmark-enable                       # full size, prints the table
    python -m pytest benchmarks --benchmark-enable --results FILE.json   # and writes it

Without `--benchmark-enable` everything runs once at toy size, as plain tests of equality.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from corpora import DISTRIBUTIONS, make_store

ROUNDS = 7
ROWS = pytest.StashKey[list]()
FIGURES = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--results", metavar="FILE", help="write the measured table to FILE as JSON")


def pytest_configure(config):
    config.stash[ROWS] = []
    config.stash[FIGURES] = []


@pytest.fixture(scope="session")
def full_size(pytestconfig):
    """Whether this is a measurement rather than a test."""
    return pytestconfig.getoption("benchmark_enable")


@pytest.fixture(scope="session", params=list(DISTRIBUTIONS))
def corpus(request, tmp_path_factory, full_size):
    """(name, store) of 200,000 records, or of 2,000 as a test."""
    records = 200_000 if full_size else 2_000
    return request.param, make_store(tmp_path_factory.mktemp("corpus") / "store", request.param, records)


@pytest.fixture
def race(request, benchmark, full_size):
    """`race(case, tokens, baseline, ours)`: run both in turn, and record seconds and their ratio."""

    def run(case, tokens, baseline, ours, **facts):
        rounds = ROUNDS if full_size else 1
        baseline()
        benchmark.pedantic(ours, rounds=rounds)
        pairs = [(seconds(baseline), seconds(ours)) for _ in range(rounds)]
        ratios = sorted(theirs / mine for theirs, mine in pairs)
        row = {
            "case": case,
            "baseline_tokens_per_second": tokens / statistics.median(pair[0] for pair in pairs),
            "tokens_per_second": tokens / statistics.median(pair[1] for pair in pairs),
            "ratio": statistics.median(ratios),
            "ratio_min": ratios[0],
            "ratio_max": ratios[-1],
            **facts,
        }
        benchmark.extra_info.update(row)
        request.config.stash[ROWS].append(row)
        return row

    return run


@pytest.fixture
def figure(request):
    """`figure(case, value, unit)`: record one measured number that has no rival."""

    def record(case, value, unit):
        request.config.stash[FIGURES].append({"case": case, "value": value, "unit": unit})

    return record


def seconds(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def pytest_terminal_summary(terminalreporter, config):
    rows, figures = config.stash[ROWS], config.stash[FIGURES]
    if not config.getoption("benchmark_enable") or not (rows or figures):
        return
    terminalreporter.section("ratios, baseline and ours in turn")
    for row in rows:
        terminalreporter.write_line(
            f"{row['case']:<58} {row['baseline_tokens_per_second'] / 1e6:8.2f} -> "
            f"{row['tokens_per_second'] / 1e6:8.2f} M tokens/s   {row['ratio']:7.2f}x "
            f"({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        )
    for row in figures:
        terminalreporter.write_line(f"{row['case']:<90} {row['value']:10.4g} {row['unit']}")
    if path := config.getoption("results"):
        Path(path).write_text(
            json.dumps({"machine": machine(), "rows": rows, "figures": figures}, indent=1) + "\n"
        )


def machine():
    """What the numbers depend on; no host name and no path."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "refill_gigabytes_per_second": refill_rate(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "torch": torch.__version__,
        "commit": commit,
        "rounds": ROUNDS,
    }


def refill_rate():
    """How fast this machine fills memory it already has: the limit of any collate."""
    memory = np.empty(1 << 23, np.int64)
    memory.fill(0)
    times = [seconds(lambda: memory.fill(1)) for _ in range(ROUNDS)]
    return memory.nbytes / statistics.median(times) / 1e9
