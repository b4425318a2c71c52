"""Timing as ratios in one run, and a results file. `python -m benchmarks` runs it all; or pytest does:

    python -m pytest benchmarks --benchmark-enable                       # full size, prints the table
    python -m pytest benchmarks --benchmark-enable --results FILE.json   # and writes it

Without `--benchmark-enable` everything runs once at toy size, as plain tests of equality.
"""

import json
import os
import statistics
from functools import cache
from pathlib import Path

import pytest

from benchmarks.harness.corpora import DISTRIBUTIONS, REAL, RECORDS, here, make_store, real_store
from benchmarks.harness.machine import machine
from benchmarks.harness.timing import seconds, spread

collect_ignore = ["bench_peers.py"] if os.environ.get("FASTCOLLATE_PEERS") == "0" else []
ROUNDS = 7
QUICK_ROUNDS = 3
ENOUGH = {"short", "very-long"}  # corpora as tests: the others run through the same code
QUICK_EXPONENT = 6  # a quick run leaves out what has more than 10^6 records
ROWS = pytest.StashKey[list]()
FIGURES = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--results", metavar="FILE", help="write what was measured to FILE as JSON")
    parser.addoption("--quick", action="store_true", help="measure less: fewer rounds and records")


def pytest_configure(config):
    config.stash[ROWS] = []
    config.stash[FIGURES] = []


def pytest_collection_modifyitems(config, items):
    """As tests, leave out cases that differ from others by what they measure alone."""
    if not config.getoption("benchmark_enable"):
        left_out = [item for item in items if item.get_closest_marker("measured")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def kinds(*names):
    """The corpora as parameters of a fixture."""
    return [pytest.param(name, marks=[] if name in ENOUGH else pytest.mark.measured) for name in names]


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report, config):
    """Under `-v` a case that was measured says how long that took."""
    if config.getoption("benchmark_enable") and report.when == "call" and report.passed:
        return "passed", ".", f"{report.duration:.1f} s"
    return None


@pytest.fixture(scope="session")
def full_size(pytestconfig):
    """Whether this is a measurement rather than a test."""
    return pytestconfig.getoption("benchmark_enable")


@pytest.fixture(scope="session")
def rounds(pytestconfig, full_size):
    """How often to measure: 7 times, 3 if it must be quick, once as a test."""
    return (QUICK_ROUNDS if pytestconfig.getoption("quick") else ROUNDS) if full_size else 1


@pytest.fixture(scope="session")
def sized(pytestconfig, full_size):
    """`sized(full, quick, toy)`: the one of the three that this run is to use."""

    def choose(full, quick, toy):
        return (quick if pytestconfig.getoption("quick") else full) if full_size else toy

    return choose


@pytest.fixture(scope="session")
def power_of_ten(sized):
    """`power_of_ten(exponent)`: so many records, or a thousandth as a test; a quick run skips large ones."""

    def records(exponent):
        if sized(False, True, False) and exponent > QUICK_EXPONENT:
            pytest.skip(f"--quick measures up to 10^{QUICK_EXPONENT} records")
        return sized(10**exponent, 10**exponent, max(10, 10 ** (exponent - 3)))

    return records


@pytest.fixture(scope="session")
def corpus_of(tmp_path_factory, sized):
    """`corpus_of(kind)`: (kind, store) of a corpus, which is made once."""

    @cache
    def made(kind):
        home = tmp_path_factory.mktemp("corpus")
        if kind in DISTRIBUTIONS:
            return kind, make_store(home / "store", kind, sized(*RECORDS[kind]))
        if kind not in here():
            pytest.skip(f"the records of {kind} are not here")
        return kind, real_store(home, kind)

    return made


@pytest.fixture(scope="session", params=kinds(*DISTRIBUTIONS))
def corpus(request, corpus_of):
    """(kind, store) of a synthetic corpus."""
    return corpus_of(request.param)


@pytest.fixture(scope="session", params=kinds(*DISTRIBUTIONS, *REAL))
def any_corpus(request, corpus_of):
    """(kind, store) of a synthetic corpus, or of real records where they are."""
    return corpus_of(request.param)


@pytest.fixture
def race(request, benchmark, rounds):
    """`race(case, tokens, baseline, ours)`: run both in turn, and record seconds and their ratio.

    `limit=` says which physical limit the baseline is; its share is then the ratio.
    """

    def run(case, tokens, baseline, ours, limit=None, **facts):
        baseline(), ours()
        benchmark.pedantic(ours, rounds=1)
        pairs = [_in_turn(baseline, ours, swapped=number % 2 == 1) for number in range(rounds)]
        row = {"topic": topic_of(request), "case": case}
        row |= spread([tokens / theirs for theirs, _ in pairs], "baseline_tokens_per_second")
        row |= spread([tokens / mine for _, mine in pairs], "tokens_per_second")
        row |= spread([theirs / mine for theirs, mine in pairs], "ratio")
        row |= {} if limit is None else {"limit": limit, "share": row["ratio"]}
        row |= facts
        benchmark.extra_info.update(row)
        request.config.stash[ROWS].append(row)
        return row

    return run


def _in_turn(baseline, ours, *, swapped):
    """Seconds of each; whoever comes second finds the rows in the cache, so they change places."""
    if swapped:
        mine, theirs = seconds(ours), seconds(baseline)
    else:
        theirs, mine = seconds(baseline), seconds(ours)
    return theirs, mine


@pytest.fixture
def figure(request):
    """`figure(case, value, unit)`: record one measured number that has no rival, or a list of its rounds.

    None is what was not run, and is shown as such.
    A report draws the figures that have `chart=`, as points of line `series=` at `at=`; `limit=` names a physical
    limit, `share=` is the value as a part of it.
    """

    def record(case, value, unit, **facts):
        row = {"topic": topic_of(request), "case": case}
        row |= spread(value, "value") if isinstance(value, list) else {"value": value}
        request.config.stash[FIGURES].append(row | {"unit": unit} | facts)

    return record


@pytest.fixture
def near_limit(figure, rounds):
    """`near_limit(case, amount, unit, limit=, reach=, ours=)`: how much of a physical limit is reached.

    `reach` is the limit as a function and `ours` what must do as much; both run in turn. The figure is `amount`
    by our seconds, its share the limit's fastest round by our median: nothing but noise makes a limit slower.
    """

    def run(case, amount, unit, *, limit, reach, ours, **facts):
        reach(), ours()
        pairs = [(seconds(reach), seconds(ours)) for _ in range(rounds)]
        share = min(least for least, _ in pairs) / statistics.median(mine for _, mine in pairs)
        figure(case, [amount / mine for _, mine in pairs], unit, limit=limit, share=share, **facts)

    return run


def topic_of(request):
    return request.path.stem.removeprefix("bench_")


def pytest_sessionfinish(session):
    """Write what there is, also after Ctrl-C."""
    config = session.config
    found = {"rows": config.stash[ROWS], "figures": config.stash[FIGURES]}
    path = config.getoption("results")
    if path and config.getoption("benchmark_enable") and any(found.values()):
        quick = config.getoption("quick")
        results = {"machine": machine(rounds=QUICK_ROUNDS if quick else ROUNDS, quick=quick), **found}
        Path(path).write_text(json.dumps(results, indent=1) + "\n")


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
        share = f"   {row['share']:.0%} of {row['limit']}" if "share" in row else ""
        value = "not run" if row["value"] is None else f"{row['value']:.4g}"
        terminalreporter.write_line(f"{row['case']:<90} {value:>10} {row['unit']}{share}")
