"""`python -m benchmarks`: topics, peers in their own processes, one results file, and what Ctrl-C leaves."""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEER = """\
import json, os, sys
from pathlib import Path
name, directory, *options = sys.argv[1:]
if name == "broken":
    print("a long story", file=sys.stderr)
    sys.exit("broken is not installed: pip install broken")
if name == "dead":
    os._exit(3)
print("what the library says on stdout")
if name != "silent":
    print(json.dumps({"peer": name, "options": options, "store": "store" in os.listdir(directory)}))
"""

NAMES = ["broken", "dead", "ours", "silent"]
HANGING = """\
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
with open(os.path.join(sys.argv[2], "begun"), "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """`benchmarks/__main__.py` as a module, with peers of our own, small corpora, and no cases."""
    spec = importlib.util.spec_from_file_location("benchmarks_main", ROOT / "benchmarks" / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "peers").mkdir()
    (tmp_path / "results").mkdir()
    for name in ("__init__", *NAMES):
        (tmp_path / "peers" / f"{name}.py").touch()
    (tmp_path / "measure.py").write_text(PEER)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "MEASURE", (sys.executable, str(tmp_path / "measure.py")))
    monkeypatch.setattr(module, "KINDS", ["short", "very-long", "real"])
    monkeypatch.setattr(module, "put_store", lambda home, *_, **__: (home / "store").mkdir())
    monkeypatch.setattr(module, "apart", lambda function, *args, **keywords: function(*args, **keywords))
    return module


def run_cases(code, results):
    """In place of pytest: what it would write, and its exit code."""

    def main(words):
        if results:
            Path(words[words.index("--results") + 1]).write_text(json.dumps(results))
        return code

    return main


def test_peers_run_on_each_corpus_and_with_each_number_of_workers(suite, tmp_path, capsys):
    path = tmp_path / "mine.json"
    assert suite.main(["--topic", "peers", "--results", str(path)]) == 0
    results = json.loads(path.read_text())
    assert (results["rows"], results["figures"]) == ([], [])
    ours = [row for row in results["peers"] if row["peer"] == "ours"]
    assert ours == [
        {
            "peer": "ours",
            "options": ["--workers", str(workers), "--seconds", "5", "--onsets", "3"],
            "store": True,
            "workers": workers,
            "corpus": corpus,
        }
        for corpus in ("short", "very-long", "real")
        for workers in (0, 2)
    ]
    assert "ours, very-long, 2 workers " in capsys.readouterr().out


def test_peers_run_with_the_workers_that_are_asked_for(suite, tmp_path):
    path = tmp_path / "mine.json"
    words = ["--topic", "peers", "--corpus", "short", "--workers", "2", "--results", str(path)]
    assert suite.main(words) == 0
    rows = json.loads(path.read_text())["peers"]
    assert [(row["peer"], row["workers"]) for row in rows] == [(name, 2) for name in NAMES]


def test_every_row_is_on_disk_before_the_next_peer_begins(suite, tmp_path, monkeypatch):
    path, seen = tmp_path / "mine.json", []

    def measure(*_):
        seen.append(len(json.loads(path.read_text())["peers"]) if path.exists() else 0)
        return {}

    monkeypatch.setattr(suite, "measure", measure)
    assert suite.main(["--quick", "--topic", "peers", "--results", str(path)]) == 0
    assert seen == [0, 1, 2, 3]
    assert len(json.loads(path.read_text())["peers"]) == 4


def test_a_peer_that_fails_is_missing_with_its_reason(suite, tmp_path):
    path = tmp_path / "mine.json"
    assert suite.main(["--quick", "--topic", "peers", "--results", str(path)]) == 0
    rows = json.loads(path.read_text())["peers"]
    where = {"workers": 0, "corpus": "short"}
    assert [row for row in rows if "missing" in row] == [
        {"missing": "broken is not installed: pip install broken", "peer": "broken", **where},
        {"missing": "it ended with code 3", "peer": "dead", **where},
        {"missing": "it printed no JSON object", "peer": "silent", **where},
    ]
    assert [row["options"][-3::2] for row in rows if "missing" not in row] == [["1", "1"]]


@pytest.mark.slow
def test_a_peer_that_never_ends_is_missing_and_ended_with_all_it_began(suite, tmp_path, monkeypatch):
    (tmp_path / "measure.py").write_text(HANGING)
    monkeypatch.setattr(suite, "PATIENCE", 1.5)
    assert suite.measure("ours", tmp_path, 0, 1, 1) == {"missing": "no result after 1.5 s"}
    begun = [int(pid) for pid in (tmp_path / "begun").read_text().split()]
    assert len(begun) == 2
    wait_until(lambda: not any(is_running(pid) for pid in begun))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("why", "code"), [("write: AssertionError: 3 of 64 rows", 1), ("No module named 'x'", 0)])
def test_a_peer_that_delivers_other_rows_fails_the_run(suite, tmp_path, monkeypatch, why, code):
    monkeypatch.setattr(suite, "measure", lambda *_: {"missing": why})
    path = tmp_path / "mine.json"
    assert suite.main(["--quick", "--topic", "peers", "--results", str(path)]) == code
    assert {row["missing"] for row in json.loads(path.read_text())["peers"]} == {why}


@pytest.mark.slow
def test_what_is_made_apart_comes_back_and_leaves_nothing_imported():
    command = "import sys; from benchmarks.__main__ import apart; from benchmarks.harness.machine import machine\n"
    command += (
        "if __name__ == '__main__': print(apart(machine, rounds=2, quick=True)['rounds'], 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "2 False\n"


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (pytest.ExitCode.OK, 0, "written to"),
        (pytest.ExitCode.TESTS_FAILED, 1, "written to"),
        (pytest.ExitCode.INTERRUPTED, 130, "interrupted; what was measured is in"),
    ],
)
def test_what_was_measured_is_written_however_it_ended(suite, monkeypatch, capsys, code, exit_code, said):  # noqa: PLR0917
    (suite.HERE / "bench_collate.py").touch()
    measured = {"machine": {"rounds": 3}, "rows": [{"case": "a"}], "figures": []}
    monkeypatch.setattr(suite, "run_pytest", run_cases(code, measured))
    path = suite.HERE / "mine.json"
    assert suite.main(["--topic", "collate", "--results", str(path)]) == exit_code
    assert json.loads(path.read_text()) == measured
    assert capsys.readouterr().out == f"{said} {path}\n"


def test_ctrl_c_among_the_peers_keeps_those_before(suite, tmp_path, monkeypatch):
    def measure(name, *_):
        if name == "ours":
            raise KeyboardInterrupt
        return {"missing": "no"}

    monkeypatch.setattr(suite, "measure", measure)
    path = tmp_path / "mine.json"
    assert suite.main(["--topic", "peers", "--quick", "--results", str(path)]) == 130
    assert [row["peer"] for row in json.loads(path.read_text())["peers"]] == ["broken", "dead"]


def test_where_nothing_was_measured_nothing_is_written(suite, tmp_path, monkeypatch, capsys):
    (tmp_path / "bench_collate.py").touch()
    monkeypatch.setattr(suite, "run_pytest", run_cases(pytest.ExitCode.INTERRUPTED, None))
    path = tmp_path / "mine.json"
    path.write_text("an earlier file")
    assert suite.main(["--topic", "collate", "--results", str(path)]) == 130
    assert path.read_text() == "an earlier file"
    assert capsys.readouterr().err == "benchmarks: nothing was measured, nothing is written\n"
    assert suite.main(["--results", str(tmp_path / "nowhere" / "mine.json")]) == 1
    assert capsys.readouterr().err.endswith("is no directory: make it, or give --results another\n")


def test_a_file_is_named_after_the_day_and_the_machine(suite):
    today = date.today().isoformat()  # noqa: DTZ011  # the day it is here
    assert [suite.machine_name(count) for count in (1, 2, 12, 64)] == [
        "one-core",
        "two-cores",
        "twelve-cores",
        "64-cores",
    ]
    assert doctest.testmod(suite) == (0, 1)
    parse = suite.parser().parse_args
    assert suite.file_name(parse(["--machine", "laptop"])) == f"{today}-laptop"
    words = ["--quick", "--topic", "peers", "--machine", "laptop"]
    assert suite.file_name(parse(words)) == f"{today}-laptop-quick-peers"
    assert suite.file_name(parse(["--corpus", "short", "--machine", "laptop"])) == f"{today}-laptop-short"


@pytest.mark.slow
def test_a_topic_runs_and_says_what_each_case_took(tmp_path):
    path = tmp_path / "mine.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--topic", "foreign", "--results", str(path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = re.findall(r"^(benchmarks/bench_foreign\.py::\S+\[.*\]) [\d.]+ s +\[", run.stdout, re.MULTILINE)
    collect = [sys.executable, "-m", "pytest", "benchmarks/bench_foreign.py", "--collect-only"]
    cases = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    assert sorted(lines) == sorted(case for case in cases if case.startswith("benchmarks/"))
    assert len(lines) >= 4
    results = json.loads(path.read_text())
    assert [row["topic"] for row in results["rows"]] == ["foreign"] * len(lines)
    assert [figure["topic"] for figure in results["figures"]] == ["foreign"] * len(lines)
    assert (results["machine"]["rounds"], results["machine"]["quick"]) == (3, True)
    for row in results["rows"]:
        assert (
            row["ratio_min"]
            <= row["ratio_quartiles"][0]
            <= row["ratio"]
            <= row["ratio_quartiles"][1]
            <= row["ratio_max"]
        )
        assert row["tokens_per_second_min"] <= row["tokens_per_second"] <= row["tokens_per_second_max"]
