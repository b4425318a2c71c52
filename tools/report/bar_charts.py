"""The picture of bars: shares of a limit."""

from tools.report.chart_style import BLUE, GREY, panels_of


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
