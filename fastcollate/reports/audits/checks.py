"""What is wrong with the ends, turns and beginnings of records: each check looks at a whole stretch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray, Ragged, offsets_of
from fastcollate.reports.audits.stretches import Stretch
from fastcollate.reports.chat_marks import ChatMarks, Turns, marks_of_end
from fastcollate.reports.decoded import BlankTokens
from fastcollate.reports.token_search import matching

__all__ = ["doubled_beginnings", "learnt_headers", "marked", "only_ends", "open_turns", "unended"]

_BLANK = 4  # tokens of white space that an empty answer may have: line breaks of the format, or a blank


def marked(stretch: Stretch, rows: IntArray) -> IntArray:
    """Return each of some records of a stretch once, rising: several times as fast as `np.unique`."""
    found = np.zeros(len(stretch.offsets) - 1, bool)
    found[rows] = True
    return np.flatnonzero(found)


def doubled_beginnings(stretch: Stretch, marks: ChatMarks) -> IntArray:
    """Return the records that begin with the same control token, or the same beginning in letters, twice."""
    firsts, limits, tokens = stretch.offsets[:-1], stretch.offsets[1:], stretch.tokens
    doubled: NDArray[np.bool_] = marks.is_control.take(tokens[firsts], mode="clip")
    doubled &= (limits - firsts > 1) & (tokens[np.minimum(firsts + 1, len(tokens) - 1)] == tokens[firsts])
    for ids in marks.begins:
        doubled |= matching(tokens, firsts, limits, (*ids, *ids))
    return np.flatnonzero(doubled)


def only_ends(stretch: Stretch, marks: ChatMarks, blanks: BlankTokens) -> IntArray:
    """Return the records whose targets are nothing but ends of turns or texts, and a little white space."""
    rows = np.flatnonzero(
        (stretch.targets > 0) & (stretch.targets <= 2 * max([1, *map(len, marks.ends)]) + _BLANK)
    )
    first = stretch.tokens[stretch.starts[stretch.firsts[rows]]]
    ends = marks.is_end.take(first, mode="clip") | np.isin(first, [ids[0] for ids in marks.ends])
    ends[~ends] = blanks.among(first[~ends])  # most records have another first target, and are left alone
    rows = rows[ends]
    if len(rows) == 0:
        return rows
    targets = _without(_targets_of(stretch, rows), blanks, marks.ends)
    begins, stops = targets.offsets[:-1], targets.offsets[1:].copy()
    some = (stops > begins) & (stretch.targets[rows] - (stops - begins) <= _BLANK)
    for _ in range(2):  # the end of the turn, and that of the text
        left = np.flatnonzero(stops > begins)
        stops[left] -= marks_of_end(marks, targets.values, begins[left], stops[left])
    only: IntArray = rows[some & (stops == begins)]
    return only


def _without(rows: Ragged, blanks: BlankTokens, ends: Sequence[tuple[int, ...]]) -> Ragged:
    """Return rows without their blank tokens, but for those that ends of several tokens have."""
    kept = ~blanks.among(rows.values) | np.isin(rows.values, [token for ids in ends for token in ids])
    return Ragged(rows.values[kept], offsets_of(kept)[rows.offsets])


def _targets_of(stretch: Stretch, rows: IntArray) -> Ragged:
    """Return the targets of some records, side by side.

    Runs (2, 4) and (7, 8) have their targets at 2, 3 and 7: 0, 1, 2 with 2, 2, 5 added.
    """
    counts = np.diff(stretch.firsts)[rows]
    within = np.arange(int(counts.sum())) - np.repeat(offsets_of(counts)[:-1], counts)
    runs = np.repeat(stretch.firsts[rows], counts) + within
    sizes = (stretch.stops - stretch.starts)[runs]
    places = np.arange(int(sizes.sum())) + np.repeat(stretch.starts[runs] - offsets_of(sizes)[:-1], sizes)
    return Ragged(stretch.tokens[places], offsets_of(stretch.targets[rows]))


def unended(stretch: Stretch, marks: ChatMarks, turns: Turns) -> IntArray:
    """Return the records with a turn whose targets do not reach to an end; a record without turns is one.

    One token after the end, the line break that formats have there, may be a target, too.
    """
    bare = np.ones(len(stretch.offsets) - 1, bool)
    bare[turns.rows] = False
    found = np.zeros(len(bare), bool)
    found[turns.rows[_unended(stretch, marks, turns.bodies, turns.stops)]] = True
    if bare.any():
        rows = np.flatnonzero(bare)
        found[rows[_unended(stretch, marks, stretch.offsets[rows], stretch.offsets[rows + 1])]] = True
    return np.flatnonzero(found)


def _unended(stretch: Stretch, marks: ChatMarks, begins: IntArray, stops: IntArray) -> IntArray:
    """Return which stretches of tokens, whose stops rise, have a last target that no end has before it."""
    last = stretch.last_target(begins, stops)
    learnt = np.flatnonzero(last > begins)
    for after in (0, 1):
        begin, stop = begins[learnt], last[learnt] - after
        ended = marks_of_end(marks, stretch.tokens, begin, stop) > 0
        learnt = learnt[~ended | (stop <= begin)]
    return learnt


def open_turns(turns: Turns) -> IntArray:
    """Return the records whose last turn has no end."""
    last = np.append(turns.rows[1:] > turns.rows[:-1], True)[: len(turns.rows)]
    return turns.rows[last & ~turns.closed]


def learnt_headers(stretch: Stretch, turns: Turns, before: IntArray) -> IntArray:
    """Return the records in which a token of a header is a target; `before` are the targets before each turn."""
    learnt: NDArray[Any] = stretch.targets_before(turns.bodies) > before
    return marked(stretch, turns.rows[learnt])
