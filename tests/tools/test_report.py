"""`python -m tools.report`: the page and its pictures say what a results file says, and what it does not."""

import doctest
import json
import re
import sys
from pathlib import Path

import pytest
from results import PEERS, figure, race, results

from tools.report import __main__ as report
from tools.report import documents, page

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = RESULTS / "2026-11-23-two-cores.json"


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


def test_the_page_has_every_number_and_says_what_was_not_run():
    rows = [race("row loop: <short>", 4.0, 3.0, 5.0)]
    content = results(rows, [figure("planning", 42.0, "ns a record", 40.0, 50.0)], PEERS)
    html = page.page(content, "mine", [("Padding", None), ("Ratios", '<?xml?>\n<svg width="1"></svg>')])
    missing = "loader, pack, balance, prepare, workers, merge, audit, transfer, resume, scale, limits, train"
    missing += ", beyond_memory, object_storage, foreign, trainers, cluster"
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
    for words, message in (
        ([path], "the pictures are drawn with matplotlib: pip install matplotlib"),
        ([path, "--readmes"], f"{path} is not in the repository: README.md can only name a file that is"),
        ([tmp_path / "nowhere.json"], f"{tmp_path / 'nowhere.json'}: No such file or directory"),
        ([tmp_path / "words.json"], f"{tmp_path / 'words.json'} {not_json}"),
    ):
        assert report.main([str(word) for word in words]) == 1
        assert capsys.readouterr() == ("", f"report: {message}\n")


def test_both_readmes_are_written_by_a_command(results_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    path, content = results_file(results(peers=PEERS)), results(peers=PEERS)
    (tmp_path / "README.md").write_text("no marks")
    assert report.main([str(path), "--readmes"]) == 1
    assert capsys.readouterr().err == (
        "report: README.md has no lines <!-- measured: ... --> and <!-- /measured --> to write between\n"
    )
    (tmp_path / "results").mkdir()
    path = path.rename(tmp_path / "results" / "mine.json")
    (tmp_path / "README.md").write_text("<!-- measured: nothing -->\n<!-- /measured -->\n")
    assert report.main([str(path), "--readmes"]) == 0
    assert capsys.readouterr().out == f"wrote the figures of {path} into README.md and results/README.md\n"
    assert (tmp_path / "README.md").read_text() == (
        f"<!-- measured: results/mine.json -->\n{documents.five(content)}<!-- /measured -->\n"
    )
    assert (tmp_path / "results" / "README.md").read_text() == documents.results_page(content, path)
