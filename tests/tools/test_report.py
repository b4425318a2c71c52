"""`tools/report`: the page and the tables say what a results file says, and what it does not."""

import doctest
import json
import re
import sys
from pathlib import Path

import pytest
from results import absent, figure, peer, race, results

from tools.report import __main__ as report
from tools.report import page, tables
from tools.report.tables import MARKS, duration, peers, races, table, written

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = RESULTS / "2026-11-23-two-cores.json"
HEAD = ["short records", "M tokens/s", "with 2 workers", "ours ÷ theirs, short", "ours ÷ theirs, long-tailed"]
HEAD += ["first batch", "resume at 99 %", "peak memory"]
PEERS = [
    peer("fastcollate", 100e6, first_batch_seconds=0.012, resume_99_seconds=0.008),
    peer("fastcollate", 80e6, workers=2, peak_pss_megabytes=400.0),
    peer("slow", 2e6, version="1.2, 3.4"),
    peer("slow", 4e6, workers=2, first_batch_seconds=0.04, resume_99_seconds=None, peak_pss_megabytes=None),
    absent("nobody", "pip install a|b"),
    peer("late", 1e6, workers=2, resume_99_seconds=None),
    peer("fastcollate", 300e6, corpus="long-tailed"),
    peer("slow", 9e6, corpus="long-tailed"),
]


@pytest.fixture
def results_file(tmp_path):
    """`results_file(content)`: its path."""

    def write(content):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(content))
        return path

    return write


def cells_of(html):
    """The rows of all tables of a page, as texts."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_the_tables_show_each_peer_at_its_best():
    assert peers(PEERS) == [
        f"| {' | '.join(HEAD)} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| fastcollate's loader 1.2 | 100 | 80 | 1 | 1 | 12 ms | 8 ms | 400 MB |",
        "| slow's loader | 2 | 4 | 25 | 33.3 | 40 ms | 3 s | 456 MB |",
        "| late's loader 1.2 | not run | 1 | 100 | not run | 50 ms | not measured | 456 MB |",
        "| nobody | not run: pip install a/b |  |  |  |  |  |  |",
        "",
    ]
    assert peers([]) == []


def test_the_tables_show_ours_beside_its_baselines():
    rows = [race("notebook: short, batch 32, bucketed", 4.0, 3.0, 5.0), race("row loop: short, batch 8", 9, 9, 9)]
    assert races(rows)[2:] == ["| notebook: short, batch 32, bucketed | 5.00 | 20.0 | 4.00 (3.00 to 5.00) |", ""]


def test_a_figure_near_a_limit_says_how_near():
    near = figure("collating batches of 32, short", 5.0, "GB/s", limit="filling the tensors", share=0.25)
    text = table(results(figures=[near, figure("padding, short, batch 32: plan", 99.954, "%")]))
    assert "| collating batches of 32, short | 5 | GB/s, 25% of filling the tensors |\n" in text
    assert "| padding, short, batch 32: plan | 99.95 | % |\n" in text
    assert text.endswith(
        "\na processor, 2 cores, memory refilled at 20 GB/s, Python 3.11.7, NumPy 2.4.6, torch 2.13.0; "
        "medians of 7 rounds, of a loader's speed of ten parts of five seconds.\n"
    )


def test_a_text_changes_between_its_marks_only():
    text = "before\n<!-- measured: old.json -->\nold\n<!-- /measured -->\nafter\n"
    content = results(peers=PEERS)
    found = written(text, content, "new.json")
    assert found == f"before\n<!-- measured: new.json -->\n{table(content)}<!-- /measured -->\nafter\n"
    assert MARKS.search(found)["path"] == "new.json"
    assert written(found, content, "new.json") == found


def test_seconds_are_in_a_unit_people_read():
    assert doctest.testmod(tables) == (0, 2)
    assert [duration(value) for value in (0.0005, 0.25, 1.0, 75.25, None)] == [
        "0.5 ms",
        "250 ms",
        "1 s",
        "75.2 s",
        "not measured",
    ]


def test_the_page_has_every_number_and_says_what_was_not_run():
    rows = [race("row loop: <short>", 4.0, 3.0, 5.0)]
    content = results(rows, [figure("planning", 42.0, "ns a record", 40.0, 50.0)], PEERS)
    html = page.page(content, "mine", [("Padding", None), ("Ratios", '<?xml?>\n<svg width="1"></svg>')])
    missing = "loader, pack, prepare, transfer, resume, scale, limits, train"
    assert f'<p class="absent">Not run in this file: {missing}.</p>' in html
    assert '<h2>Padding</h2>\n<p class="absent">Not run: this file has no numbers for it.</p>' in html
    assert '<figure><svg role="img" aria-label="Ratios" width="1"></svg></figure>' in html
    cells = cells_of(html)
    assert ["row loop: &lt;short&gt;", "5.00", "20.00", "4.00", "3.00 to 5.00"] in cells
    assert ["planning", "42", "ns a record", "40 to 50"] in cells
    assert ["nobody", "short", "0", "not run", *[""] * 8, "pip install a|b"] in cells
    assert [
        *("slow&#x27;s loader 1.2", "short", "2", "4", "0.5", "25.0%", "40 ms", "1.5 s"),
        *("not measured", "not measured", "0.4 ms", "2 ms", ""),
    ] in cells


def test_every_topic_of_the_benchmarks_can_be_said_to_be_missing():
    files = (ROOT / "benchmarks").glob("bench_*.py")
    topics = {path.stem.removeprefix("bench_") for path in files} - {"peers"}  # which have a word of their own
    assert set(page.TOPICS) == topics


def test_a_page_without_peers_or_topics_says_so():
    old = [{key: value for key, value in race("a", 1.0, 1.0, 1.0).items() if key != "topic"}]
    html = page.page(results(old), "old", [])
    assert '<p class="absent">Not run in this file: other loaders.</p>' in html
    assert "<h3>all topics</h3>" in html


@pytest.mark.slow
def test_a_report_is_one_page_and_its_pictures(results_file, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the pictures are drawn with matplotlib")
    from tools.report import chart_style

    assert doctest.testmod(chart_style) == (0, 1)
    lines = {"chart": "planning", "series": "batch_size"}
    figures = [figure(f"planning, 10^{n}", 40.0 + n, "ns a record", at=10**n, **lines) for n in (4, 5)]
    figures += [
        figure(f"{chart} {at}", 10.0 + at, "ms", chart=chart, panel="short", series="batch_size", at=at)
        for chart, points in (("padding", (4, 8)), ("resume", (0, 99)))
        for at in points
    ]
    rows = [race("preparing", 0.8, 0.7, 0.9, limit="tiktoken", share=0.8)]
    path = results_file(results(rows, figures, PEERS))
    assert report.main([str(path), "--output", str(tmp_path / "out")]) == 0
    names = ["limits", "padding", "peers-first-batch", "peers-memory", "peers-resume", "peers-tokens"]
    names += ["ratios", "records", "resume"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.html",
        *[f"{n}.png" for n in names],
    ]
    html = (tmp_path / "out" / "index.html").read_text()
    assert html.count("<svg ") == len(names)
    assert not re.search(r"<(script|link|img|iframe)\b|url\((?!#)|src=", html)
    assert capsys.readouterr().out == f"wrote {tmp_path / 'out' / 'index.html'} and 9 pictures\n"
    first = html
    report.main([str(path), "--output", str(tmp_path / "out")])
    assert (tmp_path / "out" / "index.html").read_text() == first


def test_errors_are_one_line(results_file, tmp_path, capsys, monkeypatch):
    path = results_file(results())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("charts", "bar_charts", "dot_charts", "line_charts", "chart_style"):
        monkeypatch.delitem(sys.modules, f"tools.report.{name}", raising=False)
    (tmp_path / "words.json").write_text("words")
    not_json = (
        "is not JSON (Expecting value: line 1 column 1 (char 0)): give a file that `python -m benchmarks` wrote"
    )
    no_marks = "no lines <!-- measured: ... --> and <!-- /measured --> to write between"
    for words, message in (
        ([path], "the pictures are drawn with matplotlib: pip install matplotlib"),
        ([path, "--tables"], f"{path} is not in the repository: the tables can only name a file that is"),
        (
            [MEASURED, "--tables", path],
            f"{path} has {no_marks}",
        ),
        ([tmp_path / "nowhere.json"], f"{tmp_path / 'nowhere.json'}: No such file or directory"),
        ([tmp_path / "words.json"], f"{tmp_path / 'words.json'} {not_json}"),
    ):
        assert report.main([str(word) for word in words]) == 1
        assert capsys.readouterr() == ("", f"report: {message}\n")


def test_the_tables_beside_the_results_are_what_the_file_says():
    text = (RESULTS / "README.md").read_text()
    found = MARKS.search(text)
    assert found[0] == found[1] + table(json.loads((ROOT / found["path"]).read_text())) + found[3]


def test_a_text_gets_its_tables_by_a_command(tmp_path, capsys):
    path = tmp_path / "tables.md"
    path.write_text("<!-- measured: nothing -->\n<!-- /measured -->\n")
    assert report.main([str(MEASURED), "--tables", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote the tables of {MEASURED} into {path}\n"
    name = "benchmarks/results/2026-11-23-two-cores.json"
    assert path.read_text() == (
        f"<!-- measured: {name} -->\n{table(json.loads(MEASURED.read_text()))}<!-- /measured -->\n"
    )
