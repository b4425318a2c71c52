"""Comparing two results files: noise is no change, a change is one, and what cannot be compared is said."""

import json
from pathlib import Path

import pytest
from results import absent, figure, peer, race, results

from tools.compare_bench import KINDS, main

MACHINE = "the machine itself: three quarters of what is not ours differ by at most "


@pytest.fixture
def compared(tmp_path, capsys):
    """`compared(before, after, *options)`: (exit code, lines printed)."""

    def run(before, after, *options):
        paths = [tmp_path / "before.json", tmp_path / "after.json"]
        for path, content in zip(paths, (before, after), strict=True):
            path.write_text(json.dumps(content))
        code = main([*map(str, paths), *options])
        printed = capsys.readouterr()
        assert printed.err == ""
        lines = printed.out.replace(f"{tmp_path}/", "").splitlines()
        said = [line for line in lines if line.startswith(MACHINE)]
        assert len(said) == 1
        return code, [line for line in lines if line not in said]

    return run


def test_intervals_that_meet_are_no_change(compared):
    before = results([race("a", 4.0, 2.0, 5.0)], [figure("b", 10.0, "ms", 8.0, 15.0)])
    after = results([race("a", 2.5, 2.0, 3.0)], [figure("b", 20.0, "ms", 15.0, 30.0)])
    assert compared(before, after) == (0, ["0 worse, 0 better, 2 the same within the noise"])


def test_medians_that_differ_by_less_than_the_threshold_are_no_change(compared):
    before = results(figures=[figure("a", 100.0, "ms", 99.0, 101.0)])
    after = results(figures=[figure("a", 108.0, "ms", 107.0, 109.0)])
    assert compared(before, after) == (0, ["0 worse, 0 better, 1 the same within the noise"])
    assert compared(before, after, "--threshold", "5")[1][-1] == "1 worse, 0 better, 0 the same within the noise"


def test_what_changed_is_listed_worst_first_and_aligned(compared):
    before = results(
        [race("row loop", 4.0, 3.9, 4.1), race("notebook", 10.0, 9.0, 11.0)],
        [figure("first batch", 10.0, "ms", 9, 11)],
    )
    after = results(
        [race("row loop", 2.0, 1.9, 2.1), race("notebook", 20.0, 19.0, 21.0)],
        [figure("first batch", 40.0, "ms", 39, 41)],
    )
    assert compared(before, after) == (
        0,
        [
            "                before           after      times better  case",
            "worse     10 (9 to 11)   40 (39 to 41)  ms  0.25          first batch",
            "worse   4 (3.9 to 4.1)  2 (1.9 to 2.1)  x   0.50          row loop",
            "better    10 (9 to 11)   20 (19 to 21)  x   2.00          notebook",
            "2 worse, 1 better, 0 the same within the noise",
        ],
    )
    assert compared(before, after, "--fail")[0] == 1
    assert compared(before, before, "--fail")[0] == 0


@pytest.fixture
def drift_of(tmp_path, capsys):
    """`drift_of(before, after)`: how many times what is not ours differs, as printed; both are lists of cases."""

    def run(before, after):
        paths = [tmp_path / "before.json", tmp_path / "after.json"]
        for path, cases in zip(paths, (before, after), strict=True):
            path.write_text(json.dumps(results(*cases)))
        assert main([str(path) for path in paths]) == 0
        (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(MACHINE))
        return line.removeprefix(MACHINE)

    return run


def baseline(case, rate):
    return race(case, 2.0, 2.0, 2.0) | {"baseline_tokens_per_second": rate}


def test_times_must_differ_by_more_than_foreign_code_does(compared):
    def content(rate, milliseconds, padding):
        figures = [figure("planning", milliseconds, "ms", milliseconds, milliseconds), figure("b", padding, "%")]
        limit = figure("limit: copying", rate / 1e6, "GB/s")
        return results([baseline("notebook: short", rate)], [*figures, limit])

    before = content(20e6, 10.0, 5.0)
    for rate, verdicts in ((7e6, ["b"]), (10e6, ["planning", "b"])):
        _, lines = compared(before, content(rate, 25.0, 6.0))
        assert [line.split()[-1] for line in lines[1:-1]] == verdicts


def test_the_machine_is_judged_by_times_and_rates_of_foreign_code(drift_of):
    rows = ["notebook: a", "padded_collate on lists: a", "TRL's bfd (records, not tokens): a"]
    rows += ["TRL's bfd: short, packs made", "preparing instructions, tiktoken alone: gpt2"]
    for case in rows:
        assert drift_of([[baseline(case, 20e6)]], [[baseline(case, 5e6)]]) == "4.00 times"
        assert drift_of([[baseline(case, 5e6)]], [[baseline(case, 20e6)]]) == "4.00 times"
    limits = [[[], [figure("limit: filling", value, "GB/s")]] for value in (3.0, 2.0)]
    assert drift_of(*limits) == "1.50 times"
    assert drift_of([], []) == "1.00 times"


def test_our_own_code_is_no_excuse_for_being_slower(compared, drift_of):
    for case in (
        "row loop: short",
        "stream, bare loop: short",
        "gathered from one shard: short",
        "a race of tomorrow",
    ):
        assert drift_of([[baseline(case, 20e6)]], [[baseline(case, 10e6)]]) == "1.00 times"
    before, after = (
        results([baseline("stream, bare loop: short", 1e9 / ms)], [figure("collating", ms, "ms", ms, ms)])
        for ms in (10.0, 20.0)
    )
    assert compared(before, after)[1][-1] == "1 worse, 0 better, 1 the same within the noise"


def test_memory_and_what_was_not_run_say_nothing_of_the_machine(drift_of):
    for unit, value in (("MB", 50.0), ("GB/s", None)):
        cases = [
            [[], [figure("limit: torch", value, unit), figure("limit: filling", 10, "GB/s")]]
            for value in (100.0, value)
        ]
        assert drift_of(*cases) == "1.00 times"


def test_one_noisy_baseline_is_not_the_machine(drift_of):
    cases = [f"notebook: {number}" for number in range(4)]
    before, after = (
        [[baseline(case, rate) for case, rate in zip(cases, rates, strict=True)]]
        for rates in ([20e6] * 4, [20e6, 10e6, 16e6, 2e6])
    )
    assert drift_of(before, after) == "2.00 times"


def test_what_was_timed_once_may_be_a_quarter_off(compared):
    before = results(figures=[figure("a", 10.0, "ms"), figure("b", 10.0, "times")])
    for value, counts in ((15.0, "0 worse, 0 better, 2 the same"), (17.0, "2 worse, 0 better, 0 the same")):
        after = results(figures=[figure("a", value, "ms"), figure("b", value, "times")])
        assert compared(before, after)[1][-1] == f"{counts} within the noise"


@pytest.mark.parametrize("unit", ["%", "MB", "GiB", "bytes", "bytes a token", "copies"])
def test_what_is_counted_is_neither_noise_nor_the_machine(compared, unit):
    before, after = (
        results([baseline("notebook: short", rate)], [figure("counted", value, unit)])
        for rate, value in ((20e6, 2.04), (5e6, 2.5))
    )
    assert compared(before, after)[1][-1] == "1 worse, 0 better, 1 the same within the noise"


@pytest.mark.parametrize(
    ("case", "unit", "verdict"),
    [
        ("host time of ragged staging over padding", "times", "worse"),
        ("training a toy on cpu, short, padded: waiting", "%", "worse"),
        ("training a toy on cpu, short, padded: step", "ms", None),
        ("in a unit of tomorrow", "parsecs", None),
    ],
)
def test_a_slower_machine_excuses_times_but_not_what_it_slows_both_parts_of(compared, case, unit, verdict):
    before, after = (
        results([baseline("notebook: short", rate)], [figure(case, value, unit)])
        for rate, value in ((20e6, 1.0), (5e6, 2.0))
    )
    _, lines = compared(before, after)
    assert [line.split()[0] for line in lines[1:-1]] == ([verdict] if verdict else [])


def test_a_share_of_the_time_is_not_counted(compared):
    before, after = (
        results(figures=[figure("training a toy on cpu, short, padded: waiting", value, "%")])
        for value in (1.0, 1.5)
    )
    assert compared(before, after)[1][-1] == "0 worse, 0 better, 1 the same within the noise"


def test_every_unit_that_was_ever_written_is_known():
    paths = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
    units = {row["unit"] for path in paths for row in json.loads(path.read_text())["figures"]}
    assert {"%", "ms", "times"} <= units <= set(KINDS)


@pytest.mark.parametrize(
    ("case", "unit", "verdict"),
    [
        ("packing efficiency", "%", "better"),
        ("padding", "%", "worse"),
        ("limit", "GB/s", "better"),
        ("packing planned", "M records a second", "better"),
        ("planning", "ns a record", "worse"),
    ],
)
def test_more_is_better_where_it_is(compared, case, unit, verdict):
    before, after = (results(figures=[figure(case, value, unit, value, value)]) for value in (10.0, 20.0))
    assert compared(before, after)[1][1].split()[0] == verdict


def test_peers_are_compared_measure_by_measure(compared):
    before = results(peers=[peer("ours", 10e6), absent("theirs", "not installed")])
    after = results(peers=[peer("ours", 20e6), peer("theirs", 1e6)])
    _, lines = compared(before, after)
    assert lines[1].endswith("tokens/s  2.00          ours, short, 0 workers: speed")
    assert lines[2] == "0 worse, 1 better, 7 the same within the noise"
    titles = ["speed", "CPU time", "padding", "batch p99", "first batch"]
    titles += ["resume at 50 %", "resume at 99 %", "peak memory"]
    assert lines[3:] == [f"only in after.json: theirs, short, 0 workers: {title}" for title in titles]


@pytest.mark.parametrize(
    ("name", "less", "more", "shown"),
    [
        (
            "cpu_seconds_per_million_tokens",
            1.0,
            2.0,
            "s a M tokens  0.50          ours, short, 0 workers: CPU time",
        ),
        ("padding", 0.25, 0.5, "of the cells  0.50          ours, short, 0 workers: padding"),
        ("p99_milliseconds", 2.0, 8.0, "ms  0.25          ours, short, 0 workers: batch p99"),
        ("resume_50_seconds", 1.0, 2.0, "s  0.50          ours, short, 0 workers: resume at 50 %"),
        ("resume_99_seconds", 1.0, 2.0, "s  0.50          ours, short, 0 workers: resume at 99 %"),
        ("first_batch_seconds", 0.5, 1.0, "s  0.50          ours, short, 0 workers: first batch"),
        ("peak_pss_megabytes", 100, 200, "MB  0.50          ours, short, 0 workers: peak memory"),
    ],
)
def test_of_all_but_the_speed_of_a_peer_less_is_better(compared, name, less, more, shown):
    before, after = (results(peers=[peer("ours", 10e6, **{name: value})]) for value in (less, more))
    _, lines = compared(before, after)
    assert lines[1].startswith("worse")
    assert lines[1].endswith(shown)
    assert lines[2] == "1 worse, 0 better, 7 the same within the noise"
    assert compared(after, before)[1][-1] == "0 worse, 1 better, 7 the same within the noise"


def test_other_versions_and_uncommitted_changes_are_said(compared):
    now = {"python": "3.12.1", "numpy": "2.5.0", "pyarrow": "27.0", "torch": "2.14.0", "tiktoken": "0.15"}
    before = results(pyarrow="26.0", tiktoken="0.14", uncommitted_changes=False)
    after = results(**now, uncommitted_changes=True)
    versions = [
        "note: python was 3.11.7, and is 3.12.1",
        "note: numpy was 2.4.6, and is 2.5.0",
        "note: pyarrow was 26.0, and is 27.0",
        "note: torch was 2.13.0, and is 2.14.0",
        "note: tiktoken was 0.14, and is 0.15",
    ]
    said = "note: the second run had uncommitted changes: its commit does not say what was measured"
    counts = "0 worse, 0 better, 0 the same within the noise"
    assert compared(before, after) == (0, [*versions, said, counts])
    assert compared(after, after) == (0, [said.replace("second", "first"), said, counts])


def test_cases_in_one_file_and_other_machines_are_said(compared):
    before = results([race("a", 1.0, 1.0, 1.0)], cores=2)
    after = results([race("b", 1.0, 1.0, 1.0)], cores=64, quick=True)
    assert compared(before, after) == (
        0,
        [
            "note: cores was 2, and is 64",
            "note: one of the runs was --quick, with fewer records: times and padding are of other corpora",
            "0 worse, 0 better, 0 the same within the noise",
            "only in before.json: a",
            "only in after.json: b",
        ],
    )


def test_what_is_no_results_file_is_an_error_of_one_line(tmp_path, capsys):
    (tmp_path / "words.json").write_text("words")
    (tmp_path / "list.json").write_text("[]")
    for name, message in (
        ("nowhere.json", "No such file or directory"),
        ("words.json", "is not JSON"),
        ("list.json", "has no machine, rows and figures: give a file that `python -m benchmarks` wrote"),
    ):
        assert main([str(tmp_path / name), str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"compare_bench: {tmp_path / name}")
        assert message in error
        assert error.count("\n") == 1
