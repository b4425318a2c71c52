"""Bars as inline SVG: widths are parts of the page's, so that text keeps its size on narrow screens."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from fastcollate.reports.text import printable

__all__ = ["Bar", "bars", "shown"]

_LINE = 26  # pixels of a bar and what is around it
_LEFT, _ROOM = 30, 38  # where bars begin, and the longest one's width, in percent


class Bar(NamedTuple):
    """A bar: what stands before it, its size, the size of the dark part of it, and what stands after it."""

    label: str
    size: float
    part: float
    text: str


def shown(text: str) -> str:
    r"""Return text as HTML shows it: nothing of it is markup, and what cannot be seen is spelt out.

    >>> shown("<b>\u202e & more")
    '&lt;b&gt;\\u202e &amp; more'
    """
    return escape(printable(text))


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Return bars under each other; the longest takes all of their room.

    >>> bars("lengths", [Bar("1 - 2", 4, 1, "4")]).count("<rect")
    2
    """
    most = max((bar.size for bar in rows), default=0) or 1
    lines = []
    for i, bar in enumerate(rows):
        top, middle = i * _LINE + 5, i * _LINE + 18
        lines.append(f'<text x="0" y="{middle}">{shown(bar.label)}</text>')
        for name, size in (("whole", bar.size), ("part", bar.part)):
            width = max(size / most * _ROOM, 0.3 if size else 0)
            lines.append(f'<rect class="{name}" x="{_LEFT}%" y="{top}" width="{width:.2f}%" height="16" rx="2"/>')
        lines.append(f'<text class="after" x="100%" y="{middle}">{shown(bar.text)}</text>')
    height = len(rows) * _LINE + 4
    return f'<svg role="img" width="100%" height="{height}" aria-label="{shown(title)}">{"".join(lines)}</svg>'
