"""The report's pictures: peers in the order of their own panel, ours in blue, nothing beyond an axis."""

import pytest
from results import absent, figure, peer, results

pytest.importorskip("matplotlib", reason="the pictures are drawn with matplotlib")

from tools.report.chart_style import BLUE, GREY
from tools.report.dot_charts import Measure, draw_peers
from tools.report.line_charts import draw_records

SPEED = Measure("tokens_per_second", "M tokens/s", 1e-6, rising=True)
MEMORY = Measure("peak_pss_megabytes", "MB", log=False)


def labels_of(panel):
    return [label.get_text() for label in panel.get_yticklabels()]


def test_each_panel_ranks_peers_by_its_own_values():
    rows = [peer("a", 5e6), peer("b", 9e6), peer("c", 1e6), peer("c", 7e6, workers=2)]
    rows += [peer("a", 3e6, corpus="long"), absent("b", "too slow", corpus="long"), peer("c", 4e6, corpus="long")]
    panels = draw_peers(results(peers=rows), SPEED).axes
    assert {panel.get_title(loc="left") or panel.get_title(): labels_of(panel) for panel in panels} == {
        "short": ["b's loader", "c's loader", "a's loader"],
        "long": ["c's loader", "a's loader", "b's loader"],
    }
    assert [text.get_text() for text in panels[1].texts] == ["4", "not run", "3", "not run", "not run", "not run"]


def test_where_less_is_better_the_least_comes_first():
    rows = [peer(name, 5e6, peak_pss_megabytes=size) for name, size in (("a", 300), ("b", 200), ("c", None))]
    (panel,) = draw_peers(results(peers=rows), MEMORY).axes
    assert labels_of(panel) == ["b's loader", "a's loader", "c's loader"]
    assert [text.get_text() for text in panel.texts] == ["200", "300", "not measured"]
    assert panel.get_xlim()[0] == 0


def test_both_of_ours_are_blue_and_workers_are_hollow():
    names = ("fastcollate", "fastcollate_packed", "memmap_vectorised")
    rows = [peer(name, 5e6, workers=workers) for name in names for workers in (0, 2)]
    (panel,) = draw_peers(results(peers=rows), SPEED).axes
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [(dot.get_color(), dot.get_markerfacecolor()) for dot in dots] == [
        (colour, face) for colour in (BLUE, BLUE, GREY) for face in (colour, "white")
    ]


@pytest.mark.parametrize("measure", [SPEED, MEMORY])
def test_no_line_from_least_to_most_leaves_its_axis(measure):
    key = measure.key
    rows = [peer("a", 1e6, **{key: 1e6, f"{key}_min": 4e3, f"{key}_max": 2e8}), peer("b", 5e5)]
    (panel,) = draw_peers(results(peers=rows), measure).axes
    least, most = panel.get_xlim()
    assert least < 4e3 * measure.scale
    assert most > 2e8 * measure.scale


def test_no_band_leaves_its_axis():
    line = {"chart": "planning", "series": "batch_size"}
    points = [
        figure(f"planning, 10^{n}", 50.0, "ns a record", low, 400.0, at=10**n, **line)
        for n, low in ((4, 0.5), (5, 40))
    ]
    (panel,) = draw_records(results(figures=points)).axes
    least, most = panel.get_ylim()
    assert least < 0.5
    assert most > 400
