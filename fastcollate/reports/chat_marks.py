"""The turns of conversations, told from tokens: by what chat formats put around each role's messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray
from fastcollate.reports.token_search import Hits, matching
from fastcollate.store.reader import TokenStore
from fastcollate.templates.built_in import CHAT_FORMATS
from fastcollate.templates.chat import ChatFormat, control_pieces
from fastcollate.templates.named import TEMPLATE_NAMES, load_template
from fastcollate.templates.shapes import PreferenceTemplate
from fastcollate.tokenizers.pieces import control_names
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["OTHER", "ChatMarks", "Turns", "chat_marks", "marks_of_end", "marks_of_store"]

OTHER = "other"
"""The role of a turn whose word no format knows."""

_Ids = tuple[int, ...]


class Turns(NamedTuple):
    """The turns in some records side by side, in their order.

    Attributes:
        begins: The first token of each turn's header, int64[M].
        bodies: The token after each header, int64[M].
        stops: Where the next turn or the end of the record is, int64[M].
        roles: The number of each turn's role among those of the marks, int64[M].
        rows: The record of each turn, int64[M].
        closed: Whether the turn has an end, bool[M].
        spelt: Whether the header's mark is letters, bool[M].
    """

    begins: IntArray
    bodies: IntArray
    stops: IntArray
    roles: IntArray
    rows: IntArray
    closed: NDArray[np.bool_]
    spelt: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ChatMarks:
    """What stands around the turns of conversations, as tokens.

    Attributes:
        roles: The roles that headers have, `OTHER` first.
        headers: The role, the mark that begins a turn, and what follows it in a header; shorter ones come first.
        begins: What stands before the first turn.
        ends: The ends of turns and texts that are several tokens.
        is_end: Whether a token ends a turn or a text, bool[M+1] for M ids; the last is any other id.
        is_control: Whether a token is a control token, bool[M+1].
    """

    roles: tuple[str, ...]
    headers: tuple[tuple[str, _Ids, _Ids], ...]
    begins: tuple[_Ids, ...]
    ends: tuple[_Ids, ...]
    is_end: NDArray[np.bool_]
    is_control: NDArray[np.bool_]

    @property
    def sequences(self) -> list[_Ids]:
        """What `turns_in` looks for, besides the tokens that are ends."""
        return [*dict.fromkeys(start for _, start, _ in self.headers), *self.ends]

    def turns_in(self, hits: Hits) -> Turns:
        """Return the turns of some records; `hits` are of a search for `sequences` and the tokens of `is_end`."""
        tokens, offsets = hits.tokens, hits.offsets
        parts = [self._starts(hits, start) for start in dict.fromkeys(start for _, start, _ in self.headers)]
        begins, rows, bodies, roles, spelt = _by_place(
            np.concatenate([np.zeros((5, 0), np.int64), *parts], axis=1)
        )
        stops = np.minimum(np.append(begins[1:], len(tokens))[: len(begins)], offsets.take(rows + 1))
        ends = np.append(self._end_places(hits), len(tokens))
        closed = ends.take(np.searchsorted(ends, bodies)) < stops
        return Turns(begins, bodies, stops, roles, rows, closed, spelt.astype(bool))

    def _starts(self, hits: Hits, start: _Ids) -> IntArray:
        """Return begins, records, bodies and roles of turns with a start, and if it is letters: int64[5, M]."""
        begins, rows = hits.of(start)
        bodies, roles = begins + len(start), np.zeros(len(begins), np.int64)
        after, limits = bodies.copy(), hits.offsets.take(rows + 1)
        following = hits.tokens.take(np.minimum(after, len(hits.tokens) - 1))  # tells most roles apart
        for role, _, rest in (header for header in self.headers if header[1] == start):
            near = np.flatnonzero(following == rest[0]) if rest else np.arange(len(after))
            good = near[matching(hits.tokens, after[near], limits[near], rest)]
            roles[good], bodies[good] = self.roles.index(role), after[good] + len(rest)
        return np.stack([begins, rows, bodies, roles, np.full(len(begins), len(start) > 1)])

    def _end_places(self, hits: Hits) -> IntArray:
        """Return where ends of turns begin, rising."""
        places = [hits.places[self.is_end.take(hits.ids, mode="clip")]]
        places += [hits.of(ids)[0] for ids in self.ends]
        return np.sort(np.concatenate(places), kind="stable")


def _by_place(table: IntArray) -> IntArray:
    """Return columns in the order of their first row; of those with an equal one, the last."""
    if (table[0, 1:] > table[0, :-1]).all():
        return table
    table = table[:, np.argsort(table[0], kind="stable")]
    return table[:, np.append(table[0, 1:] > table[0, :-1], True)]


def marks_of_end(marks: ChatMarks, tokens: NDArray[Any], begins: IntArray, stops: IntArray) -> IntArray:
    """Return how many tokens the end of a turn or text has that each stretch of tokens ends with, 0 for none.

    Args:
        marks: The marks.
        tokens: The tokens of records side by side.
        begins: The first token of each stretch, int64[M].
        stops: The token after each stretch, int64[M]; no stretch is empty.
    """
    sizes = marks.is_end.take(tokens[stops - 1], mode="clip").astype(np.int64)
    for ids in marks.ends:
        at = stops - len(ids)
        good = (at >= begins) & matching(tokens, np.maximum(at, 0), stops, ids)
        sizes[good] = len(ids)
    return sizes


def chat_marks(tokenizer: Tokenizer | None, template: str | None, *, size: int, end: int | None) -> ChatMarks:
    """Return the marks of all chat formats that a tokenizer has tokens for.

    The format of the named template counts in any case: what it has no tokens for is letters.

    Args:
        tokenizer: The tokenizer; without one the end of a text is all that is known.
        template: The name of the template that made the tokens.
        size: The size of the vocabulary.
        end: The token that ends a text.
    """
    is_end, is_control = _control_tokens(tokenizer, size, end)
    if tokenizer is None:
        return ChatMarks((OTHER,), (), (), (), is_end, is_control)
    headers, begins, ends = set(), set(), set()
    for chat in _formats(tokenizer, template):
        for role, prefix, suffix in chat.roles:
            headers.add((role, *_header(tokenizer, prefix, chat.control)))
            ends.add(_last_mark(tokenizer, suffix, chat.control))
        begins.add(_ids(tokenizer, chat.begin, control=True) if chat.begin else ())
    is_end[[ids[0] for ids in ends if len(ids) == 1]] = True
    return ChatMarks(
        (OTHER, *sorted({role for role, _, _ in headers})),
        tuple(sorted((header for header in headers if header[1]), key=lambda each: len(each[2]))),
        tuple(sorted(begins - {()})),
        tuple(sorted(ids for ids in ends if len(ids) > 1)),
        is_end,
        is_control,
    )


def _control_tokens(
    tokenizer: Tokenizer | None, size: int, end: int | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which tokens end a turn or a text, and which are control tokens: bool[M] both.

    A control token that no format knows may end something; those of formats do where a suffix has them.
    """
    is_end, is_control = np.zeros(size + 1, bool), np.zeros(size + 1, bool)  # the last: ids that are no tokens
    if end is not None:
        is_end[end] = is_control[end] = True
    if tokenizer is None:
        return is_end, is_control
    within: set[str] = set().union(*(chat["control"] for chat in CHAT_FORMATS.values()))
    for chat in CHAT_FORMATS.values():
        for *_, suffix in chat["roles"]:
            within -= _names_in(suffix, chat["control"])
    for name in {*control_names(tokenizer), *within}:
        number = tokenizer.control_id(name)
        if number is not None and number < size:
            is_control[number] = True
            is_end[number] |= name not in within
    return is_end, is_control


def _names_in(text: str, control: tuple[str, ...]) -> set[str]:
    return {piece for piece, is_control in control_pieces(text, control) if is_control}


def _formats(tokenizer: Tokenizer, template: str | None) -> Iterator[ChatFormat]:
    """Yield the formats whose marks are tokens, and the one of the template."""
    named: Any = load_template(template) if template in TEMPLATE_NAMES else None
    named = named.chat if isinstance(named, PreferenceTemplate) else named
    for name, content in CHAT_FORMATS.items():
        chat = ChatFormat(name, **content)
        texts = [text for _, prefix, suffix in chat.roles for text in (prefix, suffix)]
        marks = {mark for text in texts for mark in _names_in(text, chat.control)}
        if all(tokenizer.control_id(mark) is not None for mark in marks) or chat == named:
            yield chat


def _ids(tokenizer: Tokenizer, text: str, *, control: bool) -> _Ids:
    """Return a control token, or the letters of one that the tokenizer lacks, or of a text."""
    number = tokenizer.control_id(text) if control else None
    return (number,) if number is not None else tuple(tokenizer.encode(text).tolist())


def _header(tokenizer: Tokenizer, prefix: str, control: tuple[str, ...]) -> tuple[_Ids, _Ids]:
    """Return the mark a prefix begins with, and the tokens after it, without the last white space."""
    (mark, is_control), *after = control_pieces(prefix.rstrip(), control)
    if not is_control:
        return (), ()
    rest = (_ids(tokenizer, text, control=is_control) for text, is_control in after)
    return _ids(tokenizer, mark, control=True), tuple(token for ids in rest for token in ids)


def _last_mark(tokenizer: Tokenizer, suffix: str, control: tuple[str, ...]) -> _Ids:
    marks = [piece for piece, is_control in control_pieces(suffix, control) if is_control]
    return _ids(tokenizer, marks[-1], control=True) if marks else ()


def marks_of_store(store: TokenStore, tokenizer: Tokenizer | None) -> ChatMarks:
    """Return the marks that the records of a store may have."""
    manifest = store.manifest
    size = max(manifest.encoding.n_vocab, 1)
    return chat_marks(tokenizer, manifest.template, size=size, end=store.eot_token_id)
