"""Which stretch of a rendered conversation each turn became."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["ANY_TURN", "Pieces", "TooLargeError", "Turns", "cut"]

ANY_TURN = -2
"""The turn of a stretch that the template marks as an answer's, where it marks more or fewer than there are."""

_MARK = "\U000f5eed"  # stands for a turn's text where its place is looked for

Render = Callable[[Sequence[Any], bool], str]
Pieces = list[tuple[str, int, bool]]


class TooLargeError(Exception):
    """A `TooLargeError` says that a template writes without end."""


class Turns:
    """One conversation: its text, and which of it each turn became.

    Args:
        render: Renders messages, with the prompt for an answer after them or without.
        messages: The messages.
        control: What the names of special tokens look like.
    """

    def __init__(self, render: Render, messages: Sequence[Any], control: re.Pattern[str]) -> None:
        self.render = render
        self.messages = messages
        self.control = control
        self.text = render(messages, False)
        self.asks = ""
        """What asks for an answer, once it was found."""

    def places(self, wanted: Iterable[int]) -> list[tuple[int, int, int]]:
        """Return where the turns stand in the text: start, stop and number.

        The text up to a turn, with the prompt for an answer, and the text up to its end must be what the whole
        text begins with. Where they are not (a template strips earlier reasoning, ends the last turn in another
        way, or has no prompt for an answer) the turn is what changes when its message is another one.
        """
        places: list[tuple[int, int, int]] = []
        for i in wanted:
            before = places[-1][1] if places else 0
            start, stop = self._by_prefix(i) or self._by_change(i, before)
            if not before <= start < stop:
                raise ValueError(f"turn {i} cannot be told from the text around it")
            places.append((start, self._end(start, stop), i))
        return places

    def _by_prefix(self, i: int) -> tuple[int, int] | None:
        head, whole = self._tried(self.messages[:i], True), self._tried(self.messages[: i + 1], False)
        if head is None or whole is None or not self._prompt(i, head):
            return None
        fits = self.text.startswith(whole) and whole.startswith(head) and len(head) < len(whole)
        return (len(head), len(whole)) if fits else None

    def _by_change(self, i: int, before: int) -> tuple[int, int]:
        other = {"role": self.messages[i]["role"], "content": _MARK}
        changed = self._tried([*self.messages[:i], other, *self.messages[i + 1 :]], False)
        if changed is None or _MARK not in changed:
            raise ValueError(
                f"turn {i} cannot be told from the text around it: the text up to it is not what the whole text "
                "begins with; mark what is learnt by {% generation %} in the template"
            )
        start = _alike(self.text, changed)
        stop = len(self.text) - _alike_at_end(self.text[start:], changed[start:])
        head = self._tried(self.messages[:i], True)
        prompt = self._prompt(i, head) if head is not None else ""
        found = self.text.rfind(prompt, before, start) if prompt else -1
        start = found + len(prompt) if found >= 0 else start
        if i + 1 == len(self.messages):
            return start, len(self.text)
        whole, marked = self._tried(self.messages[: i + 1], False), self._tried([*self.messages[:i], other], False)
        if whole is None or marked is None:
            return start, stop
        size = _alike_at_end(whole, marked)
        tail = self._split(whole[len(whole) - size :])
        for ours, theirs in zip(self._split(self.text[stop:]), tail, strict=False):
            if ours != theirs:
                break
            stop += len(ours)
        return start, stop

    def _prompt(self, i: int, head: str) -> str:
        """Return what asks for an answer after the messages before `i`; "" where the template never asks."""
        if not (self.asks and head.endswith(self.asks)):
            plain = self._tried(self.messages[:i], False)
            self.asks = head[len(plain) :] if plain is not None and head.startswith(plain) else ""
        return self.asks

    def _end(self, start: int, stop: int) -> int:
        """Return where a turn ends that white space alone follows after its last special token."""
        last = max((found.end() for found in self.control.finditer(self.text, start, stop)), default=stop)
        return stop if self.text[last:stop].strip() else last

    def _split(self, text: str) -> list[str]:
        edges = [0, *(edge for found in self.control.finditer(text) for edge in found.span()), len(text)]
        return [text[a:b] for a, b in pairwise(edges) if a < b]

    def _tried(self, messages: Sequence[Any], prompt: bool) -> str | None:
        """Return the text of messages, or None where the template does not take them alone."""
        if not prompt and messages == self.messages:
            return self.text
        try:
            return self.render(messages, prompt)
        except (MemoryError, TooLargeError):
            raise
        except Exception:  # noqa: BLE001  # whatever a template raises
            return None


def _alike(one: str, other: str) -> int:
    """Return how many characters both begin with; slices are compared, since a loop would be slow."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _alike_at_end(one: str, other: str) -> int:
    return _alike(one[::-1], other[::-1])


def cut(text: str, control: re.Pattern[str], places: Iterable[tuple[int, int, int]]) -> Pieces:
    """Return a text in pieces: cut at special tokens, and where turns begin and end."""
    edges = [(0, 0, -1), *places, (len(text), len(text), -1)]
    stretches = []
    for (_, before, _), (start, stop, turn) in pairwise(edges):
        stretches += [(before, start, -1), (start, stop, turn)]
    pieces: Pieces = []
    for start, stop, turn in stretches:
        at = start
        for found in control.finditer(text, start, stop):
            pieces += [(text[at : found.start()], turn, False), (found[0], turn, True)]
            at = found.end()
        pieces.append((text[at:stop], turn, False))
    return [piece for piece in pieces if piece[0]]
