"""A record as text: its turns, what of it is learnt and with which weight, and its control tokens told apart."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.errors import plural
from fastcollate.reports.chat_marks import ChatMarks, chat_marks, marks_of_store
from fastcollate.reports.text import can_print, printable
from fastcollate.reports.token_search import TokenSearch
from fastcollate.store.reader import TokenStore
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["Part", "as_colours", "as_facts", "as_marked", "parts_of"]

Kind = Literal["prompt", "response", "text"]

_RESET = "\x1b[0m"
_BOLD, _INVERSE = "\x1b[1m", "\x1b[7m"
_STYLES = {"prompt": "\x1b[2m", "response": "\x1b[32m", "text": ""}  # dim, green, as it is
_NO_TARGET = -100
_MOST_PARTS = 24  # of an excerpt


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens `start` to `stop` of a record, decoded; "text" is a record of a store that has no spans.

    Attributes:
        kind: Whether the tokens are targets.
        start: The first token.
        stop: The token after the last one.
        role: The role of the turn, None where there is none.
        weight: What the tokens count in the loss.
        pieces: The text in pieces, and whether each is a control token.
        opens: Whether a turn begins here.
    """

    kind: Kind
    start: int
    stop: int
    role: str | None
    weight: float
    pieces: tuple[tuple[str, bool], ...]
    opens: bool

    @property
    def text(self) -> str:
        """The text."""
        return "".join(piece for piece, _ in self.pieces)

    @property
    def what(self) -> str:
        """The role, the kind, and a weight that is neither 0 nor 1, in words."""
        weight = f"weight {self.weight:g}" if self.weight not in (0, 1) else ""
        return ", ".join(word for word in (self.role or "", self.kind, weight) if word)


class _Place(NamedTuple):
    kind: Kind
    start: int
    stop: int
    role: str | None
    weight: float
    opens: bool


def parts_of(
    store: TokenStore | MappedCorpus, index: int, tokenizer: Tokenizer, *, most: int | None = None
) -> list[Part]:
    """Return record `index` in parts, in order and without a gap: cut where turns and targets begin and end.

    Args:
        store: The store, or token files of another program, whose labels say what is learnt.
        index: The number of the record.
        tokenizer: What made its ids.
        most: The most tokens of a part that are decoded; what is between its beginning and its end is then left
            out, and some parts are if there are many. By default all is there.
    """
    marks = marks_of_store(store, tokenizer) if isinstance(store, TokenStore) else _marks(store, tokenizer)
    places = _places(store, index, marks)
    if most is not None and len(places) > _MOST_PARTS:
        places = [*places[: _MOST_PARTS // 2], *places[-_MOST_PARTS // 2 :]]
    parts: list[Part] = []
    for place in places:
        tokens = store[index][place.start : place.stop]
        if most is None or len(tokens) <= most:
            pieces = _pieces(tokens, tokenizer, marks.is_control)
        else:
            half = most // 2
            gap = (f" [... {plural(len(tokens) - 2 * half, 'token')} ...] ", False)
            pieces = [*_pieces(tokens[:half], tokenizer, marks.is_control), gap]
            pieces += _pieces(tokens[len(tokens) - half :], tokenizer, marks.is_control)
        kind, start, stop, role, weight, opens = place
        if parts and start > parts[-1].stop:
            pieces.insert(0, (f"[... {plural(start - parts[-1].stop, 'token')} before ...] ", False))
        parts.append(Part(kind, start, stop, role, weight, tuple(pieces), opens))
    return parts


def _marks(corpus: MappedCorpus, tokenizer: Tokenizer) -> ChatMarks:
    size, end = tokenizer.vocab_size, corpus.eot_token_id
    return chat_marks(tokenizer, None, size=size, end=end if end is not None and end < size else None)


def _spans(store: TokenStore | MappedCorpus, index: int) -> list[list[int]] | None:
    """Return the (start, stop) pairs of what is learnt of a record; None where nothing is said."""
    if isinstance(store, TokenStore):
        found: list[list[int]] = store.spans(index).tolist() if store.has_spans else []
        return found if store.has_spans else None
    if "labels" not in store.columns:
        return None
    edges = np.flatnonzero(np.diff(store.labels(index) != _NO_TARGET, prepend=False, append=False))
    return edges.reshape(-1, 2).tolist()


def _places(store: TokenStore | MappedCorpus, index: int, marks: ChatMarks) -> list[_Place]:
    """Return where the parts of a record are: spans (3, 5), (9, 12) of 12 tokens cut it at 0, 3, 5, 9 and 12."""
    tokens = store[index]
    offsets = np.array([0, len(tokens)])
    turns = marks.turns_in(TokenSearch(marks.sequences, marks.is_end, tokens).hits(tokens, offsets))
    begins, roles = turns.begins.tolist(), [marks.roles[number] for number in turns.roles.tolist()]
    said = _spans(store, index)
    spans, weights = said or [], [1.0] * len(said or [])
    if isinstance(store, TokenStore) and "weights" in store.columns:
        weights = store.column("weights", index).tolist()
    starts = [start for start, _ in spans]
    cuts = sorted({0, len(tokens), *begins, *(edge for span in spans for edge in span)})
    places = []
    for start, stop in pairwise(cuts):
        turn, span = bisect_right(begins, start) - 1, bisect_right(starts, start) - 1
        learnt = span >= 0 and start < spans[span][1]
        kind: Kind = "text" if said is None else "response" if learnt else "prompt"
        weight = 1.0 if kind == "text" else weights[span] if learnt else 0.0
        opens = turn >= 0 and begins[turn] == start
        places.append(_Place(kind, start, stop, roles[turn] if turn >= 0 else None, weight, opens))
    return places


def _pieces(tokens: NDArray[Any], tokenizer: Tokenizer, is_control: NDArray[np.bool_]) -> list[tuple[str, bool]]:
    """Return the text of some tokens, cut at control tokens."""
    control = is_control.take(tokens, mode="clip")
    if not control.any():
        return [(tokenizer.decode(tokens), False)]
    pieces: list[tuple[str, bool]] = []
    for is_one, run in groupby(zip(tokens, control.tolist(), strict=True), key=lambda pair: pair[1]):
        ids = np.array([token for token, _ in run])
        pieces += (
            [(tokenizer.decode(ids[i : i + 1]), True) for i in range(len(ids))]
            if is_one
            else [(tokenizer.decode(ids), False)]
        )
    return pieces


def as_facts(parts: list[Part]) -> list[dict[str, object]]:
    """Return the parts for JSON."""
    return [
        {name: getattr(part, name) for name in ("kind", "start", "stop", "text", "role", "weight")}
        for part in parts
    ]


def as_colours(parts: list[Part]) -> str:
    """The text as a model sees it, prompts dim, responses green, control tokens inverse; roles stand above turns.

    Each line has its colour anew, since pagers forget.
    """
    lines: list[str] = []
    for part in parts:
        if part.opens:
            lines.append(f"{'' if _ends_line(lines) else chr(10)}{_BOLD}{part.role}:{_RESET}\n")
        if part.weight not in (0, 1):
            lines.append(f"{_BOLD}[weight {part.weight:g}]{_RESET}")
        for text, is_control in part.pieces:
            style = _STYLES[part.kind] + (_INVERSE if is_control else "")
            lines.append(
                re.sub(r"[^\n]+", rf"{style}\g<0>{_RESET}", printable(text)) if style else printable(text)
            )
    return "".join(lines)


def _ends_line(lines: list[str]) -> bool:
    return not lines or lines[-1].endswith("\n")


def as_marked(parts: list[Part]) -> str:
    """Each part under a line that says what it is, control tokens in brackets of their own."""
    before, after = ("⟦", "⟧") if can_print("⟦⟧") else ("[[", "]]")
    return "\n".join(
        f"--- {part.what}, {plural(part.stop - part.start, 'token')} ---\n"
        + "".join(
            f"{before}{printable(t)}{after}" if is_control else printable(t) for t, is_control in part.pieces
        )
        for part in parts
    )
