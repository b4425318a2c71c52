"""Documents taken apart: pieces of ordinary text that are encoded whole, and control tokens between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, chain, groupby, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.ragged import IntArray, offsets_of
from fastcollate.templates.segments import CONTROL_NAMES, Document, Texts
from fastcollate.tokenizers.boundaries import FloatArray
from fastcollate.tokenizers.tokenizer import Tokenizer, mend, shared_beginning

__all__ = ["Pieces", "control_ids", "control_names", "take_apart"]


class Pieces(NamedTuple):
    """The segments of D documents, G of them, as what is encoded.

    Attributes:
        texts: K texts, each the text of consecutive segments, as the tokenizer will read it.
        sizes: The bytes (or characters) of each segment; 1 for a control token.
        weights: The weight of each segment.
        segment_offsets: The first segment of each document, D + 1 of them.
        texts_before: How many of the texts begin before each segment, G + 1 of them.
        marked: The numbers of the segments that the template marked as control.
        controls: The numbers of those of them that are control tokens.
        control_ids: The token of each.
        spelt: Whether the ordinary text of each document spells the name of a control token.
        absent: Documents and the names of their control segments that the tokenizer has no token for.
    """

    texts: list[str]
    sizes: IntArray
    weights: FloatArray
    segment_offsets: IntArray
    texts_before: IntArray
    marked: IntArray
    controls: IntArray
    control_ids: NDArray[np.uint32]
    spelt: NDArray[np.bool_]
    absent: frozenset[tuple[int, str]]


def take_apart(tokenizer: Tokenizer, documents: Sequence[Document] | Texts, *, in_bytes: bool) -> Pieces:
    """Return the pieces of some documents.

    Args:
        tokenizer: What knows the control tokens.
        documents: The documents.
        in_bytes: True measures segments in bytes of UTF-8, False in characters.

    Raises:
        InputError: A segment's weight is no number from 0.
    """
    if isinstance(documents, Texts):
        return _of_texts(tokenizer, documents, in_bytes=in_bytes)
    segments = list(chain.from_iterable([document.segments for document in documents]))
    texts = [segment.text for segment in segments]
    weights = _checked_weights([segment.weight for segment in segments])
    segment_offsets = offsets_of(np.array([len(document.segments) for document in documents], np.int64))
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    marked = np.flatnonzero(np.array([segment.control for segment in segments], bool))
    found = {texts[i]: tokenizer.control_id(texts[i]) for i in marked.tolist()}
    controls = marked[[found[texts[i]] is not None for i in marked.tolist()]] if len(marked) else marked
    # Something begins with a document, at a segment marked as control and after it: a control token, or a text.
    begins = np.zeros(len(texts) + 1, bool)
    for places in (segment_offsets, marked, marked + 1):
        begins[places] = True
    begins[-1] = True
    edges = np.flatnonzero(begins)
    begins[controls] = False
    is_text = begins[edges[:-1]]
    firsts, stops = edges[:-1][is_text], edges[1:][is_text]
    sizes[controls] = 1
    joined = _joined(texts, firsts.tolist(), stops.tolist(), sizes, in_bytes=in_bytes)
    owners = np.searchsorted(segment_offsets, firsts, "right") - 1
    ordinary = ~np.isin(firsts, marked)
    spelt = _spelt(joined, owners, ordinary, control_names(tokenizer), len(documents))
    return Pieces(
        joined,
        sizes,
        weights,
        segment_offsets,
        offsets_of(begins[:-1]),
        marked,
        controls,
        np.array([found[texts[i]] for i in controls.tolist()], np.uint32),
        spelt,
        _absent(texts, np.setdiff1d(marked, controls), segment_offsets),
    )


def control_ids(tokenizer: Tokenizer) -> NDArray[np.uint32]:
    """Return the ids of the tokenizer's control tokens, the end of a text among them.

    >>> from fastcollate.tokenizers.load import load_encoding
    >>> control_ids(load_encoding("bytes"))
    array([256], dtype=uint32)
    """
    found = {tokenizer.eot_token_id, *map(tokenizer.control_id, control_names(tokenizer))}
    return np.array(sorted(number for number in found if number is not None), np.uint32)


def _absent(texts: list[str], marked: IntArray, segment_offsets: IntArray) -> frozenset[tuple[int, str]]:
    owners = np.searchsorted(segment_offsets, marked, "right") - 1
    return frozenset(
        (owner, texts[i]) for owner, i in zip(owners.tolist(), marked.tolist(), strict=True) if texts[i]
    )


def _of_texts(tokenizer: Tokenizer, documents: Texts, *, in_bytes: bool) -> Pieces:
    """Return the pieces of documents that are whole texts."""
    texts, sizes, weights, offsets = documents
    weights = _checked_weights(weights)
    plain = all(map(str.isascii, texts))
    others = [] if plain else [i for i, text in enumerate(texts) if not text.isascii()]
    if others:
        texts, counts, edges = texts.copy(), sizes.tolist(), offsets.tolist()
        for i in others:
            own = slice(edges[i], edges[i + 1])
            ends = [0, *accumulate(counts[own])]
            segments = [texts[i][start:stop] for start, stop in pairwise(ends)]
            texts[i], counts[own] = _measured(texts[i], segments, in_bytes=in_bytes)
        sizes = np.array(counts, np.int64)
    begins = np.zeros(len(sizes), bool)
    begins[offsets[:-1]] = True
    everywhere, nowhere = np.ones(len(texts), bool), np.zeros(0, np.int64)
    spelt = _spelt(texts, np.arange(len(texts)), everywhere, control_names(tokenizer), len(texts))
    no_ids = np.zeros(0, np.uint32)
    return Pieces(texts, sizes, weights, offsets, offsets_of(begins), nowhere, nowhere, no_ids, spelt, frozenset())


def _checked_weights(weights: list[float] | FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused
        checked = np.array(weights, np.float64).astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(checked) & (checked >= 0)))
    if len(wrong):
        raise InputError(
            f"a segment has weight {weights[wrong[0]]}: weights are numbers from 0, which makes no targets; "
            "let the template give such ones"
        )
    return checked


def _joined(
    texts: list[str], firsts: list[int], stops: list[int], sizes: IntArray, *, in_bytes: bool
) -> list[str]:
    """Return the texts of consecutive segments, and mend `sizes` where these are not of ASCII alone."""
    pieces = []
    for first, stop in zip(firsts, stops, strict=True):
        text = "".join(texts[first:stop])
        if not text.isascii():
            text, sizes[first:stop] = _measured(text, texts[first:stop], in_bytes=in_bytes)
        pieces.append(text)
    return pieces


def _measured(text: str, segments: list[str], *, in_bytes: bool) -> tuple[str, list[int]]:
    """Return the text as tiktoken reads it, and how much of it each segment contributes."""
    measure: Callable[[str], int] = _utf8_length if in_bytes else len
    try:
        text.encode()
        return text, [measure(segment) for segment in segments]
    except UnicodeEncodeError:
        # Mended as a whole: the two halves of a surrogate pair may lie in neighbouring segments.
        ends = [0, *(measure(mend(prefix)) for prefix in accumulate(segments))]
        return mend(text), [stop - start for start, stop in pairwise(ends)]


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def control_names(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return what the tokenizer's control tokens are called, as far as that can be known."""
    listed: Iterable[str] | None = getattr(tokenizer, "control_names", None)
    if listed is None:
        listed = [name for name in CONTROL_NAMES if tokenizer.control_id(name) is not None]
    return tuple(sorted(listed))


def _spelt(
    texts: list[str], owners: IntArray, ordinary: NDArray[np.bool_], names: tuple[str, ...], documents: int
) -> NDArray[np.bool_]:
    """Return whether each document's text spells one of the names, or one of those that stand in it as text.

    The latter are names of segments marked as control that are no tokens: their texts are not `ordinary`.
    """
    spelt = np.zeros(documents, bool)
    beginnings, search = _searcher(names)
    for beginning in beginnings:
        first = beginning[0]  # a letter is found faster than a word, and mostly not
        hits = [i for i, text in enumerate(texts) if first in text and beginning in text and search(text)]
        spelt[owners[hits]] |= ordinary[hits]
    standing: dict[int, set[str]] = {}
    for i in np.flatnonzero(~ordinary).tolist():
        standing.setdefault(int(owners[i]), set()).add(texts[i])
    for i in np.flatnonzero(ordinary & np.isin(owners, list(standing))).tolist():
        spelt[owners[i]] |= any(name in texts[i] for name in standing[int(owners[i])] if name)
    return spelt


@lru_cache(maxsize=8)
def _searcher(names: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[str], object]]:
    """Return what the names begin with (few strings, which are found fast), and what searches for a whole name."""
    alike = [list(group) for _, group in groupby(sorted(filter(None, names)), key=lambda name: name[:2])]
    beginnings = tuple(shared_beginning(group[0], group[-1]) for group in alike)
    return beginnings, re.compile("|".join(re.escape(name) for name in names if name) or r"(?!)").search
