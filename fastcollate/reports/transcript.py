"""A record as text, its prompt and its responses told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

from fastcollate.errors import plural
from fastcollate.reports.text import printable
from fastcollate.store.reader import TokenStore
from fastcollate.tokenizers.load import load_encoding

_RESET = "\x1b[0m"
_STYLES = {"prompt": "\x1b[2m", "response": "\x1b[32m", "text": ""}  # dim, green, as it is


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens `start` to `stop` of a record, decoded; "text" is a record of a store that has no spans."""

    kind: Literal["prompt", "response", "text"]
    start: int
    stop: int
    text: str


def parts_of(store: TokenStore, index: int) -> list[Part]:
    """Record `index` in parts, in order and without a gap."""
    tokens, tokenizer = store[index], load_encoding(store.encoding)
    if not store.has_spans:
        return [Part("text", 0, len(tokens), tokenizer.decode(tokens))]
    # Spans (3, 5), (9, 12) of 12 tokens cut at 0, 3, 5, 9, 12: prompts and responses take turns.
    cuts = [0, *chain.from_iterable(store.spans(index).tolist()), len(tokens)]
    return [
        Part("response" if turn % 2 else "prompt", start, stop, tokenizer.decode(tokens[start:stop]))
        for turn, (start, stop) in enumerate(pairwise(cuts))
        if start < stop
    ]


def as_colours(parts: list[Part]) -> str:
    """The text as a model sees it, prompts dim and responses green; each line anew, since pagers forget."""
    return "".join(
        re.sub(r"[^\n]+", rf"{_STYLES[part.kind]}\g<0>{_RESET}", printable(part.text)) for part in parts
    )


def as_marked(parts: list[Part]) -> str:
    """Each part under a line that says what it is."""
    return "\n".join(
        f"--- {part.kind}, {plural(part.stop - part.start, 'token')} ---\n{printable(part.text)}" for part in parts
    )
