"""The pictures of a report, in their order; each needs matplotlib."""

import io
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import matplotlib as mpl

from tools.report.bar_charts import draw_limits
from tools.report.chart_style import STYLE
from tools.report.documents import TITLES
from tools.report.dot_charts import Measure, draw_peers, draw_ratios
from tools.report.line_charts import draw_padding, draw_records, draw_resume

DOTS_PER_INCH = 150


class Picture(NamedTuple):
    """A picture to be: `draw(results)` gives a matplotlib figure, or None where the file has nothing for it."""

    name: str
    draw: Callable

    @property
    def title(self):
        return TITLES[self.name]


SPEED = Measure("tokens_per_second", "M tokens/s", 1e-6, rising=True)
FIRST = Measure("first_batch_seconds", "seconds")
RESUME = Measure("resume_99_seconds", "seconds")
MEMORY = Measure("peak_pss_megabytes", "MB, proportional set size", log=False)
PICTURES = (
    Picture("peers-tokens", partial(draw_peers, measure=SPEED)),
    Picture("peers-first-batch", partial(draw_peers, measure=FIRST)),
    Picture("peers-resume", partial(draw_peers, measure=RESUME)),
    Picture("peers-memory", partial(draw_peers, measure=MEMORY)),
    Picture("ratios", draw_ratios),
    Picture("limits", draw_limits),
    Picture("records", draw_records),
    Picture("padding", draw_padding),
    Picture("resume", draw_resume),
)


def render(picture, results):
    """(PNG, SVG) of a picture, as bytes and as text; None where the file has nothing for it."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": picture.name}):  # ids that no other picture of the page has
        figure = picture.draw(results)
        if figure is None:
            return None
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.suptitle(picture.title, x=0.005, ha="left", weight="bold", size=12)  # a page says it in a heading
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return png.getvalue(), svg.getvalue()
