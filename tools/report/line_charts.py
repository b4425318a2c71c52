"""Pictures of lines: cost against records, padding against batch size, resuming against the position."""

from tools.report.chart_style import LINES, MARKERS, legend_below, panels_of

SKIPPING = ", skipping what came before"  # the name of a line that is a rival of the line before the comma
SCALES = {  # charts against the number of records: what their axis says
    "planning": ("Planning", "ns a record"),
    "first batch": ("First batch, from an open store", "ms"),
    "restoring": ("Restoring at 99 %, to the next batch", "ms"),
    "opening": ("Opening a store", "ms"),
    "planning memory": ("Memory for planning", "MB"),
}


def points_of(results, chart, panel=None):
    """By line, the figures of a chart in the order of their place on the x axis."""
    lines = {}
    for row in results["figures"]:
        if row.get("chart") == chart and row.get("panel") == panel:
            lines.setdefault(row["series"], []).append(row)
    return {name: sorted(rows, key=lambda row: row["at"]) for name, rows in lines.items()}


def panels_in(results, chart):
    return list(dict.fromkeys(row["panel"] for row in results["figures"] if row.get("chart") == chart))


def draw_records(results):
    """A panel for each cost, against the number of records; both axes logarithmic."""
    charts = [chart for chart in SCALES if points_of(results, chart)]
    if not charts:
        return None
    figure, panels = panels_of(len(charts), 2.6)
    for panel, chart in zip(panels, charts, strict=True):
        title, unit = SCALES[chart]
        values = []
        for place, (name, rows) in enumerate(points_of(results, chart).items()):
            draw_line(panel, rows, place, name)
            values += [row.get(key, row["value"]) for row in rows for key in ("value_min", "value_max")]
        panel.set(title=title, xlabel="records", ylabel=unit, xscale="log", yscale="log")
        panel.set_ylim(min(1, min(values) / 2) if max(values) > 1 else None, max(10, max(values) * 2))
        finish(panel)
        panel.legend(fontsize=8, loc="best")
    return figure


def draw_padding(results):
    """A panel for each corpus: the part of all cells that is padding."""
    kinds = panels_in(results, "padding")
    if not kinds:
        return None
    figure, panels = panels_of(len(kinds), 3.0, sharey=True)
    for panel, kind in zip(panels, kinds, strict=True):
        lines = points_of(results, "padding", kind)
        for place, (name, rows) in enumerate(lines.items()):
            draw_line(panel, rows, place, name)
            for row in rows[:: len(rows) - 1 or 1]:
                put = {"textcoords": "offset points", "xytext": (0, 6), "ha": "center", "fontsize": 7.5}
                panel.annotate(f"{row['value']:.2g}", (row["at"], row["value"]), **put)
        sizes = sorted({row["at"] for rows in lines.values() for row in rows})
        panel.set(title=kind, xlabel="rows of a batch", ylim=(-3, 103))
        panel.set_xscale("log", base=2)
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.grid(axis="y")
        panel.margins(x=0.1)
    panels[0].set_ylabel("% of cells that are padding")
    legend_below(figure, *panels[0].get_legend_handles_labels())
    return figure


def draw_resume(results):
    """A panel for each corpus: solid from a state, dashed by making and dropping all batches before."""
    kinds = panels_in(results, "resume")
    if not kinds:
        return None
    figure, panels = panels_of(len(kinds), 3.2, sharey=True)
    for panel, kind in zip(panels, kinds, strict=True):
        lines = points_of(results, "resume", kind)
        ways = list(dict.fromkeys(name.removesuffix(SKIPPING) for name in lines))
        for name, rows in lines.items():
            style = "--" if name.endswith(SKIPPING) else "-"
            draw_line(panel, rows, ways.index(name.removesuffix(SKIPPING)), name, style)
        panel.set(title=kind, xlabel="% of the epoch done", yscale="log", xticks=[0, 25, 50, 75, 99])
        finish(panel)
    panels[0].set_ylabel("ms to the next batch")
    handles, labels = panels[0].get_legend_handles_labels()
    legend_below(figure, handles, [label.replace(SKIPPING, ", skipping") for label in labels])
    return figure


def draw_line(panel, rows, place, name, style="-"):
    """The medians as a line, the extremes as a faint band."""
    at, colour = [row["at"] for row in rows], LINES[place % len(LINES)]
    marker = MARKERS[place % len(MARKERS)]
    form = {"marker": marker, "markersize": 4, "linewidth": 2.4 - 0.4 * place}  # one that lies on another is seen
    panel.plot(at, [row["value"] for row in rows], style, color=colour, label=name, **form)
    if all("value_min" in row for row in rows):
        low, high = ([row[f"value_{side}"] for row in rows] for side in ("min", "max"))
        panel.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)


def finish(panel):
    """A logarithmic axis with plain numbers, and lines across."""
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.grid(axis="y")
