"""The lengths of a store's records: five numbers, and a histogram in text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastcollate.errors import plural
from fastcollate.ragged import IntArray
from fastcollate.reports.text import can_print, columns

_STEPS = 9  # of the histogram, at most; a bin for the long tail may follow
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def summarise(lengths: IntArray, counts: IntArray) -> dict[str, float]:
    """Min, median, mean, 99th percentile and max; each but the mean is a length that occurs.

    >>> summarise(np.array([2, 5, 9]), np.array([1, 1, 2]))
    {'min': 2, 'median': 5, 'mean': 6.25, 'p99': 9, 'max': 9}
    """
    return {
        "min": int(lengths[0]),
        "median": percentile(lengths, counts, 50),
        "mean": round(float((lengths * counts).sum() / counts.sum()), 2),
        "p99": percentile(lengths, counts, 99),
        "max": int(lengths[-1]),
    }


def percentile(lengths: IntArray, counts: IntArray, percent: int) -> int:
    """The smallest length that `percent` of a hundred records do not exceed."""
    reached = np.cumsum(counts)
    return int(lengths[np.searchsorted(reached * 100, int(reached[-1]) * percent)])


def in_words(summary: dict[str, float]) -> str:
    """The numbers of `summarise` on one line.

    >>> in_words({"min": 2, "mean": 1234.56})
    'min 2, mean 1,234.6'
    """
    return ", ".join(
        f"{name} {value:,.1f}" if isinstance(value, float) else f"{name} {value:,}"
        for name, value in summary.items()
    )


def histogram(lengths: IntArray, counts: IntArray) -> list[tuple[int, int, int]]:
    """(from, to, records) bins, both ends counted, in steps of a round number of tokens.

    The steps reach to the 99th percentile. What is longer is one last bin: a long tail in equal steps would
    leave no room for the rest.

    >>> histogram(np.array([3, 12, 14, 90]), np.array([1, 80, 20, 1]))
    [(2, 3, 1), (4, 5, 0), (6, 7, 0), (8, 9, 0), (10, 11, 0), (12, 13, 80), (14, 15, 20), (16, 90, 1)]
    """
    first, last = int(lengths[0]), percentile(lengths, counts, 99)
    step = _round_step((last - first + 1) / _STEPS)
    edges = list(range(first - first % step, last + 1, step))
    edges.append(edges[-1] + step)
    if edges[-1] <= lengths[-1]:
        edges.append(int(lengths[-1]) + 1)
    records, _ = np.histogram(lengths, edges, weights=counts)
    return [(start, stop - 1, int(n)) for (start, stop), n in zip(pairwise(edges), records, strict=True)]


def _round_step(least: float) -> int:
    """The first of 1, 2, 3, 4, 5, 6, 8, 10, 20, ... that is no less."""
    power = 1
    while 8 * power < least:
        power *= 10
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8) if step * power >= least)


def print_histogram(lengths: IntArray, counts: IntArray) -> None:
    """One bar a bin, as wide as the terminal has room for."""
    found = histogram(lengths, counts)
    labels = [(f"{start:,}", f"{stop:,}") for start, stop, _ in found]
    left, right = (max(len(label[side]) for label in labels) for side in (0, 1))
    total, most = int(counts.sum()), max(n for _, _, n in found)
    room = columns() - left - right - len(f"{most:,}") - 16
    print(f"\n{'tokens':>{left + right + 3}}  {plural(total, 'record')}")
    for (start, stop), (_, _, n) in zip(labels, found, strict=True):
        share = f"{n:,}".rjust(len(f"{most:,}")) + f"  {100 * n / total:5.1f} %"
        print(f"{start:>{left}} - {stop:>{right}}  {bar(n / most, room):{room}}  {share}")


def bar(share: float, room: int) -> str:
    """A bar of `share * room` cells, at least a sliver if there is anything to show."""
    eighths = max(round(share * room * 8), share > 0)
    if not can_print("█▏"):
        return "#" * -(-eighths // 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
