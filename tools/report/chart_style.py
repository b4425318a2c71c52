"""How every picture of a report looks: colours, fonts, and panels side by side."""

from matplotlib.figure import Figure

OURS = ("fastcollate", "fastcollate_packed")  # of the peers
BLUE, GREY, LIGHT_GREY, INK = "#0b61a4", "#6b7280", "#c3c8cf", "#1f2933"
LINES = ("#0b61a4", "#c2410c", "#15803d", "#7e22ce")  # all dark on white; markers tell them apart as well
MARKERS = ("o", "s", "^", "D")
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT_GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}
WIDTH = 11  # inches, of every picture


def panels_of(count, height, *, across=3, **shared):
    """(figure, panels): `count` panels, `across` to a row, each row `height` inches."""
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(WIDTH, height * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, **shared).ravel().tolist()
    for panel in panels[count:]:
        panel.remove()
    return figure, panels[:count]


def legend_below(figure, handles, labels):
    """One legend for all panels, below them."""
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), borderaxespad=0.2)


def short_number(value):
    """Three digits, large ones in full.

    >>> short_number(0.012345), short_number(4.5678), short_number(123456)
    ('0.0123', '4.57', '123,456')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
