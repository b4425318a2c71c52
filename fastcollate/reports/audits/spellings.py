"""Names that stand in texts as plain letters, found among tokens whatever stands around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray
from fastcollate.reports.decoded import BlankTokens, decoded
from fastcollate.reports.token_search import Hits
from fastcollate.templates.chat import REASONING
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["Spellings"]

_AROUND = ("", " ", "a", ".", "\n", ">", "<", '"', "(", "=", "1")  # what may share a token with a name's ends
_MARGIN = 3  # tokens beside a name that are decoded with it
_FEW = 12  # tokens between two marks that are decoded, whatever these are
_KEPT = 1 << 12  # decoded stretches that are remembered
_EMPTY = re.compile(r"\s*".join(map(re.escape, REASONING)))


class _Core(NamedTuple):
    """The tokens that a name has wherever it stands.

    Attributes:
        ids: The tokens.
        whole: Whether these are all of the name.
        length: How many tokens the name has where it stands alone.
        before: The letter that stands before these tokens, "" where that is not known.
    """

    ids: tuple[int, ...]
    whole: bool
    length: int
    before: str


class Spellings:
    """`Spellings` finds names in plain letters, and blocks of reasoning that are empty.

    A name's first and last letters may share a token with what stands beside them. So what is looked for is what
    the tokens of the name have in common between different neighbours; what is found is decoded and read.

    Args:
        tokenizer: The tokenizer; it can decode.
        names: The names.
        is_control: Whether a token is a control token, which is no letters: bool[M].
    """

    def __init__(self, tokenizer: Tokenizer, names: Sequence[str], is_control: NDArray[np.bool_]) -> None:
        self._tokenizer = tokenizer
        self._is_control = is_control
        self._blanks = BlankTokens(tokenizer, len(is_control))
        self._pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")
        cores = [core for name in names for core in _cores(tokenizer, name)]
        self._names = [core for core in cores if not is_control[list(core.ids)].any()]
        self._marks = [_cores(tokenizer, mark) + _token_of(tokenizer, mark) for mark in REASONING]
        self._empty: dict[bytes, bool] = {}
        self._ending: dict[int, str] = {}

    @property
    def sequences(self) -> list[tuple[int, ...]]:
        """What `names_in` and `empty_blocks` look for."""
        return [core.ids for cores in (self._names, *self._marks) for core in cores]

    def names_in(self, hits: Hits) -> IntArray:
        """Return the records whose text spells a name, rising, int64[M]; `hits` are those of `sequences`."""
        tokens, offsets = hits.tokens, hits.offsets
        found: set[int] = set()
        for core, at, rows in _places(self._names, hits):
            if core.whole:
                found.update(rows.tolist())
                continue
            likely = self._likely(core, tokens, at)
            for place, row in zip(at[likely].tolist(), rows[likely].tolist(), strict=True):
                if row not in found and self._spells(tokens, place, core, offsets[row], offsets[row + 1]):
                    found.add(row)
        return np.array(sorted(found), np.int64)

    def _likely(self, core: _Core, tokens: NDArray[Any], at: IntArray) -> NDArray[np.bool_]:
        """Return whether the token before each place ends with the letter that the name has there, bool[M].

        A core may be a common token, such as the "s" of `<s>`: what is before it tells most of these at once.
        """
        if not core.before:
            return np.ones(len(at), bool)
        ids, places = np.unique(tokens[np.maximum(at - 1, 0)], return_inverse=True)
        for i in ids.tolist():
            if i not in self._ending:
                self._ending[i] = decoded(self._tokenizer, [i])[-1:]
        likely: NDArray[np.bool_] = np.array([self._ending[i] == core.before for i in ids.tolist()], bool)[places]
        return likely

    def _spells(self, tokens: NDArray[Any], at: int, core: _Core, first: int, last: int) -> bool:
        """Whether the letters around a place, as far as no control token stands between, spell a name."""
        begin, end = max(first, at - core.length - _MARGIN), min(last, at + len(core.ids) + core.length + _MARGIN)
        window = tokens[begin:end]
        control = np.flatnonzero(self._is_control.take(window, mode="clip")) + begin
        begin = max([begin, *(control[control < at] + 1).tolist()])
        end = min([end, *control[control > at].tolist()])
        return self._pattern.search(decoded(self._tokenizer, tokens[begin:end])) is not None

    def empty_blocks(self, hits: Hits) -> IntArray:
        """Return the records with a block of reasoning that has nothing but white space, as `names_in` does."""
        offsets = hits.offsets
        opens, closes = (_sorted(_places(cores, hits)) for cores in self._marks)
        before = np.searchsorted(opens.starts, closes.starts) - 1
        here = np.flatnonzero(before >= 0)
        before = before[here]
        gaps = closes.starts[here] - opens.stops[before]
        near = (gaps >= 0) & (closes.rows[here] == opens.rows[before])
        far = np.flatnonzero(near & (gaps > _FEW))
        near[far] = self._are_blank(hits.tokens, opens.stops[before[far]], closes.starts[here[far]])
        here, before = here[near], before[near]
        begins = np.maximum(opens.starts[before] - opens.margins[before], offsets[:-1][closes.rows[here]])
        ends = np.minimum(closes.stops[here] + closes.margins[here], offsets[1:][closes.rows[here]])
        empty = [
            self._is_empty(hits.tokens[begin:end])
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        ]
        return np.unique(closes.rows[here[np.array(empty, bool)]])

    def _are_blank(self, tokens: NDArray[Any], begins: IntArray, stops: IntArray) -> NDArray[np.bool_]:
        """Return whether each of some gaps is white space, but for a few tokens beside the marks: bool[M].

        Two tokens tell most gaps that are not.
        """
        begins, stops = begins + _FEW // 2, stops - _FEW // 2
        blank = self._blanks.among(tokens[begins]) & self._blanks.among(tokens[(begins + stops) // 2])
        for i in np.flatnonzero(blank).tolist():
            blank[i] = self._blanks.among(tokens[begins[i] : stops[i]]).all()
        return blank

    def _is_empty(self, window: NDArray[Any]) -> bool:
        """Whether some tokens hold an empty block; the same few tokens come again and again."""
        key = window.tobytes()
        if key not in self._empty:
            if len(self._empty) >= _KEPT:
                self._empty.clear()
            self._empty[key] = _EMPTY.search(decoded(self._tokenizer, window)) is not None
        return self._empty[key]


class _Found(NamedTuple):
    """Where marks stand, in the order of their places: start, stop, record, and what else may belong to each."""

    starts: IntArray
    stops: IntArray
    rows: IntArray
    margins: IntArray


def _sorted(places: Iterator[tuple[_Core, IntArray, IntArray]]) -> _Found:
    parts = [
        np.stack([at, at + len(core.ids), rows, np.full(len(at), 0 if core.whole else core.length + _MARGIN)])
        for core, at, rows in places
    ]
    table = np.concatenate([np.zeros((4, 0), np.int64), *parts], axis=1)
    return _Found(*table[:, np.argsort(table[0], kind="stable")])


def _places(cores: Sequence[_Core], hits: Hits) -> Iterator[tuple[_Core, IntArray, IntArray]]:
    """Yield each core that occurs, where it begins, and in which records."""
    for core in cores:
        at, rows = hits.of(core.ids)
        if len(at):
            yield core, at, rows


def _cores(tokenizer: Tokenizer, name: str) -> list[_Core]:
    """Return runs of tokens of which a name has one wherever it stands; none where it cannot be spelt.

    GPT-2 has "<", "|", "end", "of", "text", "|", ">" for `<|endoftext|>`, but " <" after a blank and "|><" before
    another "<": "|", "end", "of", "text" is always there. Where letters take in the sign before them, `<s>` has
    "<s" after a letter and "s" after a sign: nothing is always there, and each neighbour has a run of its own.
    """
    bare = next(iter(_encoded(tokenizer, [name])), ())
    texts = [name + after for after in _AROUND] + [a + name + b for a in _AROUND for b in ("", a)]
    run = _shared(bare, _encoded(tokenizer, texts))
    if run:
        at = next(i for i in range(len(bare)) if bare[i : i + len(run)] == run)
        before = decoded(tokenizer, bare[at - 1 : at])[-1:] if at else ""
        whole = run == bare and decoded(tokenizer, bare) == name
        return [_Core(run, whole, len(bare), before)]
    found = dict.fromkeys(run for before in _AROUND for run in _runs_after(tokenizer, before, name))
    return [_Core(run, False, len(bare), _letter_before(decoded(tokenizer, run), name)) for run in found]


def _runs_after(tokenizer: Tokenizer, before: str, name: str) -> list[tuple[int, ...]]:
    """Return what the tokens of a name have in common after some text, or all that they are there."""
    rows = _encoded(tokenizer, [before + name + after for after in _AROUND])
    inside = [_longest(row, lambda run: decoded(tokenizer, run) in name) for row in rows]
    run = _shared(inside[0], rows) if inside else ()
    return [run] if run else [row for row in inside if row]


def _letter_before(text: str, name: str) -> str:
    """Return the letter before a part of a name; "" where that is not known."""
    return name[: name.find(text)][-1:] if name.count(text) == 1 else ""


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the tokens of those texts that have any; a caller's own function may raise anything."""
    rows: list[tuple[int, ...]] = []
    for text in texts:
        with suppress(Exception):
            rows.append(tuple(tokenizer.encode(text).tolist()))
    return [row for row in rows if row]


def _shared(ids: tuple[int, ...], rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the longest run of tokens that all rows have."""
    spelt = [_joined(row) for row in rows]
    return _longest(ids, lambda run: all(_joined(run) in each for each in spelt))


def _longest(ids: tuple[int, ...], fits: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
    """Return the longest run of tokens that fits, the first of equals; () if none does."""
    runs = (ids[at : at + size] for size in range(len(ids), 0, -1) for at in range(len(ids) - size + 1))
    return next(filter(fits, runs), ())


def _joined(ids: Sequence[int]) -> str:
    return f",{','.join(map(str, ids))},"


def _token_of(tokenizer: Tokenizer, name: str) -> list[_Core]:
    number = tokenizer.control_id(name)
    return [] if number is None else [_Core((number,), True, 1, "")]
