"""Pictures of bars: peers beside each other, ratios to a baseline, shares of a limit."""

from typing import NamedTuple

from chart_style import BLUE, GREY, INK, LIGHT_BLUE, LIGHT_GREY, OURS, legend_below, panels_of, short_number
from matplotlib.patches import Patch


class Measure(NamedTuple):
    """A measure of peers: its key in a results file, what the axis says, the factor to that unit."""

    key: str
    label: str
    scale: float = 1
    log: bool = True
    rising: bool = False  # more is better


class Bar(NamedTuple):
    """Where a bar lies on the other axis, and its colour."""

    middle: float
    thickness: float
    colour: str


def draw_peers(results, measure):
    """Bars side by side, a panel for each corpus; a peer without a value says so in its place."""
    rows = results.get("peers", [])
    values = [row[measure.key] * measure.scale for row in rows if row.get(measure.key)]
    if not values:
        return None
    corpora, workers = list(dict.fromkeys(row["corpus"] for row in rows)), sorted({row["workers"] for row in rows})
    names = ranked(rows, measure)
    titles = {row["peer"]: row["title"] for row in rows if "title" in row}
    height = 1.2 + len(names) * (0.2 + 0.2 * len(workers))
    figure, panels = panels_of(len(corpora), height, sharex=True, sharey=True)
    least = min(values) / 2 if measure.log else 0
    for panel, corpus in zip(panels, corpora, strict=True):
        if measure.log:
            panel.set_xscale("log")
        panel.set(title=corpus, xlabel=measure.label, yticks=range(len(names)))
        room = (max(values) / least) ** 0.3 if measure.log else 1.3  # for the numbers beside the bars
        panel.set_xlim(least, max(values) * room)
        panel.set_yticklabels([titles.get(name, name) for name in names])
        panel.set_ylim(len(names) - 0.45, -0.55)
        panel.tick_params(axis="y", length=0)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        panel.grid(axis="x")
        found = {(row["peer"], row["workers"]): row for row in rows if row["corpus"] == corpus}
        for at, name in enumerate(names):
            for place, count in enumerate(workers):
                thickness = 0.8 / len(workers)
                middle = at + (place - (len(workers) - 1) / 2) * thickness
                colour = ((BLUE, LIGHT_BLUE) if name == OURS else (GREY, LIGHT_GREY))[min(place, 1)]
                bar = Bar(middle, thickness * 0.88, colour)
                draw_bar(panel, found.get((name, count), {}), measure, bar)
    if len(workers) > 1:
        colours = [LIGHT_GREY if place else GREY for place in range(len(workers))]
        names = [f"{count} worker{'' if count == 1 else 's'}" for count in workers]
        legend_below(figure, [Patch(color=colour) for colour in colours], names)
    return figure


def draw_bar(panel, row, measure, bar):
    """One bar, its extremes and its value; or in words that there is none."""
    small = {"va": "center", "fontsize": 7.5}
    if not row.get(measure.key):
        said = "not measured" if row and "missing" not in row else "not run"
        near = panel.get_yaxis_transform()
        panel.text(0.012, bar.middle, said, transform=near, color=GREY, style="italic", **small)
        return
    value, least = row[measure.key] * measure.scale, panel.get_xlim()[0]
    low, high = (row.get(f"{measure.key}_{side}", row[measure.key]) * measure.scale for side in ("min", "max"))
    panel.barh(bar.middle, value - least, height=bar.thickness, left=least, color=bar.colour)
    if low < high:
        panel.plot([low, high], [bar.middle, bar.middle], color=INK, linewidth=0.8)
    place = {"xytext": (3, 0), "textcoords": "offset points"}
    panel.annotate(short_number(value), (high, bar.middle), **place, **small)


def ranked(rows, measure):
    """Peers, the best first; those that were not run last."""
    values = {}
    for row in rows:
        values.setdefault(row["peer"], []).extend([row[measure.key]] if row.get(measure.key) else [])

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


def draw_limits(results):
    """A bar for each case that has a physical limit: its share of it; what has lines of its own is not here."""
    rows = [row for row in [*results["rows"], *results["figures"]] if row.get("limit") and not row.get("chart")]
    if not rows:
        return None
    figure, (panel,) = panels_of(1, 1.0 + 0.34 * len(rows))
    shares = [100 * row["share"] for row in rows]
    panel.barh(range(len(rows)), shares, height=0.6, color=BLUE)
    for at, (row, share) in enumerate(zip(rows, shares, strict=True)):
        panel.text(max(101.5, share + 1), at, f"{share:.0f} % of {row['limit']}", va="center", fontsize=7.5)
    panel.axvline(100, color=GREY, linewidth=0.8)
    panel.set(xlabel="% of the physical limit", xlim=(0, max(160, *shares)), ylim=(len(rows) - 0.4, -0.6))
    panel.set(yticks=range(len(rows)), xticks=range(0, 101, 20))
    panel.set_yticklabels([row["case"] for row in rows], fontsize=8)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    return figure
