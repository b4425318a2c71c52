"""Pictures of dots, each on the line from its least to its most: peers beside each other, ratios to a baseline."""

from typing import NamedTuple

from matplotlib.lines import Line2D

from tools.report.chart_style import BLUE, GREY, INK, LIGHT_GREY, OURS, legend_below, panels_of, short_number


class Measure(NamedTuple):
    """A measure of peers: its key in a results file, what the axis says, the factor to that unit."""

    key: str
    label: str
    scale: float = 1
    log: bool = True
    rising: bool = False  # more is better


class Extent(NamedTuple):
    """What was measured, and the least and the most of its rounds, in the unit of the axis."""

    value: float
    low: float
    high: float


def draw_peers(results, measure):
    """A panel for each corpus, peers from the best down; one without a value says so in its place."""
    rows = results.get("peers", [])
    measured = [extent for row in rows if (extent := extent_of(row, measure))]
    if not measured:
        return None
    corpora, workers = list(dict.fromkeys(row["corpus"] for row in rows)), sorted({row["workers"] for row in rows})
    titles = {row["peer"]: row.get("title", row["peer"]) for row in sorted(rows, key=lambda row: "title" in row)}
    height = 1.0 + len(titles) * (0.1 + 0.14 * len(workers))
    figure, panels = panels_of(len(corpora), height, across=2)
    for panel, corpus in zip(panels, corpora, strict=True):
        of_corpus = [row for row in rows if row["corpus"] == corpus]
        names = ranked(of_corpus, measure, list(titles))
        set_axes(panel, measure, measured)
        panel.set(title=corpus, yticks=range(len(names)), ylim=(len(names) - 0.45, -0.55))
        panel.set_yticklabels([titles[name] for name in names], fontsize=8)
        found = {(row["peer"], row["workers"]): row for row in of_corpus}
        for at, name in enumerate(names):
            if at % 2:
                panel.axhspan(at - 0.5, at + 0.5, color=LIGHT_GREY, alpha=0.18, linewidth=0)
            for place, count in enumerate(workers):
                middle = at + (place - (len(workers) - 1) / 2) * 0.75 / len(workers)
                look = dot(BLUE if name in OURS else GREY, filled=place == 0)
                draw_dot(panel, found.get((name, count), {}), measure, middle, look)
    if len(workers) > 1:
        dots = [Line2D([], [], linestyle="", **dot(INK, filled=place == 0)) for place in range(len(workers))]
        legend_below(figure, dots, [f"{count} worker{'' if count == 1 else 's'}" for count in workers])
    return figure


def extent_of(row, measure):
    """The extent of a peer's measure; None where it has none."""
    value = row.get(measure.key)
    if not value:
        return None
    ends = (row.get(f"{measure.key}_{side}", value) for side in ("min", "max"))
    return Extent(*(measure.scale * number for number in (value, *ends)))


def set_axes(panel, measure, measured):
    """The same for all panels, and wide enough for every extreme and the numbers beside it."""
    least, most = min(extent.low for extent in measured), max(extent.high for extent in measured)
    if measure.log:
        panel.set_xscale("log")
        panel.set_xlim(least / 1.5, most * (1.5 * most / least) ** 0.12)
    else:
        panel.set_xlim(0, most * 1.18)
        panel.locator_params(axis="x", nbins=6, prune="upper")  # a number at the very edge would be cut
    panel.set_xlabel(measure.label)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")


def dot(colour, *, filled):
    """How a dot looks: hollow ones have worker processes."""
    return {"marker": "o", "markersize": 5, "color": colour, "markerfacecolor": colour if filled else "white"}


def draw_dot(panel, row, measure, middle, look):
    """One dot on its line, and its value; or in words that there is none."""
    small = {"va": "center", "fontsize": 7.5}
    extent = extent_of(row, measure)
    if extent is None:
        said = "not measured" if row and "missing" not in row else "not run"
        near = panel.get_yaxis_transform()
        panel.text(0.012, middle, said, transform=near, color=GREY, style="italic", **small)
        return
    panel.plot([extent.low, extent.high], [middle, middle], color=look["color"], linewidth=1.2, alpha=0.6)
    panel.plot(extent.value, middle, **look)
    place = {"xytext": (5, 0), "textcoords": "offset points"}
    panel.annotate(short_number(extent.value), (extent.high, middle), **place, **small)


def ranked(rows, measure, names):
    """The peers of a corpus, the best first; those that have no value there last."""
    values = {name: [] for name in names}
    for row in rows:
        values[row["peer"]] += [row[measure.key]] if row.get(measure.key) else []

    def place(name):
        found = values[name]
        return (not found, 0 if not found else -max(found) if measure.rising else min(found))

    return sorted(values, key=place)


def draw_ratios(results):
    """A dot for each race, with its extremes: to the right of 1 ours is faster."""
    rows = results["rows"]
    if not rows:
        return None
    figure, (panel,) = panels_of(1, 1.1 + 0.21 * len(rows))
    for at, row in enumerate(rows):
        colour = BLUE if row["ratio"] >= 1 else "#c2410c"
        panel.plot([row["ratio_min"], row["ratio_max"]], [at, at], color=colour, linewidth=1.4, alpha=0.5)
        panel.plot(row["ratio"], at, "o", color=colour, markersize=4.5)
        place = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 7.5}
        panel.annotate(f"{row['ratio']:.3g}", (row["ratio_max"], at), **place)
    panel.axvline(1, color=GREY, linewidth=0.8)
    panel.set(xscale="log", xlabel="times the baseline's speed (the line: least to most of its rounds)")
    panel.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
    panel.set_yticklabels([row["case"] for row in rows], fontsize=8)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    panel.margins(x=0.08)
    return figure
