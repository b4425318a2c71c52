"""Static widths: which columns to pad to, so that only a few batch shapes ever occur."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fastcollate.arguments import check_count
from fastcollate.errors import PlanError
from fastcollate.ragged import IntArray

__all__ = ["choose_widths", "optimal_widths"]


def choose_widths(buckets: Sequence[int] | int | None, lengths: IntArray, counts: IntArray) -> list[int] | None:
    """Return the static widths for a length histogram, or None for free widths.

    Args:
        buckets: The widths, rising; or how many to choose; or None.
        lengths: The distinct lengths that occur, rising: int64[M].
        counts: How many records have each length: int64[M].

    Raises:
        PlanError: buckets that do not rise or do not hold the longest record.
    """
    if buckets is None:
        return None
    if isinstance(buckets, Sequence):
        widths = [check_count("a bucket's width", width, error=PlanError) for width in buckets]
        return _check_widths(widths, int(lengths[-1]))
    return optimal_widths(lengths, counts, check_count("buckets", buckets, 1, error=PlanError))


def optimal_widths(lengths: IntArray, counts: IntArray, k: int) -> list[int]:
    """Return the (at most) `k` widths that pad a length histogram least, exactly.

    Dynamic programming over the distinct lengths l[0] < l[1] < ...: with C[j] records of length l[j] or
    less, the cells needed for the first j lengths with one more width are
    min over i < j of cells[i] + l[j] * (C[j] - C[i]), a lower envelope of lines met at rising l[j], so each
    width costs one pass (the monotone queue form of the convex hull trick).

    Args:
        lengths: The distinct lengths that occur, rising: int64[M].
        counts: How many records have each length: int64[M].
        k: How many widths to choose.

    >>> optimal_widths(np.array([1, 2, 8, 9]), np.array([5, 5, 1, 1]), 2)
    [2, 9]
    """
    values = [0, *lengths.tolist()]
    below = [0, *np.cumsum(counts).tolist()]
    cells = [0.0] + [float("inf")] * (len(values) - 1)
    choices: list[list[int]] = []
    for _ in range(min(k, len(lengths))):
        cells, chosen = _one_more_width(values, below, cells)
        choices.append(chosen)
    widths, j = [], len(values) - 1
    for chosen in reversed(choices):
        if j == 0:
            break
        widths.append(values[j])
        j = chosen[j]
    return widths[::-1]


def _one_more_width(values: list[int], below: list[int], cells: list[float]) -> tuple[list[float], list[int]]:
    """Cells after one more width, and for each prefix the shorter prefix it extends (exact integers)."""
    lines: list[tuple[int, float, int]] = []  # slope -below[i], value cells[i] at zero, i
    first = 0
    after: list[float] = [0.0]
    chosen = [0]
    for j in range(1, len(values)):
        i = j - 1
        if cells[i] != float("inf"):
            while len(lines) - first > 1 and _hidden(lines[-2], lines[-1], (below[i], cells[i], i)):
                lines.pop()
            lines.append((below[i], cells[i], i))
        x = values[j]
        while len(lines) - first > 1 and lines[first + 1][1] - x * lines[first + 1][0] <= (
            lines[first][1] - x * lines[first][0]
        ):
            first += 1
        if first >= len(lines):
            after.append(float("inf"))
            chosen.append(0)
            continue
        slope, start, origin = lines[first]
        after.append(start + x * (below[j] - slope))
        chosen.append(origin)
    return after, chosen


def _hidden(before: tuple[int, float, int], line: tuple[int, float, int], new: tuple[int, float, int]) -> bool:
    """Whether `line` lies nowhere below both its neighbours."""
    return (line[1] - before[1]) * (new[0] - line[0]) >= (new[1] - line[1]) * (line[0] - before[0])


def _check_widths(widths: list[int], longest: int) -> list[int]:
    """The widths that can occur, for records up to `longest` tokens."""
    if not widths or widths[0] < 1 or any(b <= a for a, b in pairwise(widths)):
        raise PlanError(f"buckets are {widths}: widths must rise and be at least 1, as in [64, 128, 256]")
    if widths[-1] < longest:
        raise PlanError(
            f"buckets end at {widths[-1]} but the longest record has {longest} tokens: "
            "add a wider bucket or set max_length"
        )
    return widths[: int(np.searchsorted(widths, longest)) + 1]
