"""Where the supervised parts of texts end among tokens: spans of targets, and their weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray, Ragged

__all__ = ["Marked", "Parts", "lack_end", "mark_by_offsets", "mark_by_sizes", "targets_of_tokens"]

FloatArray = NDArray[np.float32]


class Parts(NamedTuple):
    """The segments of D documents that are not empty, one after another.

    Attributes:
        ends: Where each part ends, counted from the first byte (or character) of the first document.
        weights: The weight of each part's tokens; 0 makes no targets.
        documents: The number of each part's document; they never fall.
    """

    ends: IntArray
    weights: FloatArray
    documents: IntArray


class Marked(NamedTuple):
    """Which tokens are targets.

    Attributes:
        pairs: `int64[S, 2]`, the places of consecutive targets of one weight among all tokens.
        weights: `float32[S]`, the weight of each.
        documents: `int64[S]`, the document of each.
        straddled: The documents that have a token with a part of a target and a part of none, in order.
    """

    pairs: IntArray
    weights: FloatArray
    documents: IntArray
    straddled: IntArray


def mark_by_sizes(byte_ends: NDArray[np.signedinteger[Any]], parts: Parts) -> Marked:
    """Return the targets among tokens of known sizes: a token that holds any byte of a part has its weight.

    Tokens of 3, 1 and 4 bytes: `byte_ends` is [0, 3, 4, 8]. A part over bytes 2..5 is in all three: byte 2 lies in
    the token that begins at 0, and the last token that begins before 5 begins at 4. A token that holds parts of
    two weights takes the larger.

    Args:
        byte_ends: `int64[V + 1]` (or int32), where each token begins, and where the last one ends.
        parts: The parts of the text.

    >>> parts = Parts(np.array([2, 5, 8]), np.array([0, 1, 0], np.float32), np.zeros(3, np.int64))
    >>> mark_by_sizes(np.array([0, 3, 4, 8]), parts).pairs
    array([[0, 3]])
    """
    ends, weights, documents = parts
    # A stretch is what has one weight and one document, over several parts or one.
    last = np.ones(len(ends), bool)
    last[:-1] = (documents[1:] != documents[:-1]) | (weights[1:] != weights[:-1])
    ends, weights, documents = ends[last].astype(byte_ends.dtype), weights[last], documents[last]
    holding = np.searchsorted(byte_ends, ends, "right") - 1  # the token that holds the byte after a stretch
    cut = byte_ends[holding] != ends  # and a byte of the stretch
    first, stop = np.concatenate([np.zeros(1, np.int64), holding])[:-1], holding + cut
    learnt = weights != 0
    straddles = cut[:-1] & (learnt[1:] != learnt[:-1])  # a document's last byte is its last token's last
    straddled = documents[:-1][straddles]
    first, stop, weights, documents = first[learnt], stop[learnt], weights[learnt], documents[learnt]
    other = weights[1:] != weights[:-1]
    if bool((other & (first[1:] < stop[:-1])).any()):
        return _painted(first, stop, weights, documents, straddled)
    # Stretches of one weight that share a token, or touch, are one span.
    new = np.ones(len(first) + 1, bool)
    new[1:-1] = (first[1:] > stop[:-1]) | other | (documents[1:] != documents[:-1])
    pairs = np.stack([first[new[:-1]], stop[new[1:]]], axis=1)
    return Marked(pairs, weights[new[:-1]], documents[new[:-1]], straddled)


def _painted(
    first: IntArray, stop: IntArray, weights: FloatArray, documents: IntArray, straddled: IntArray
) -> Marked:
    """Mark token by token: some token has parts of two weights."""
    lengths = stop - first
    begins = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    places = begins + np.arange(len(begins))
    painted = np.zeros(int(stop[-1]), np.float32)
    np.maximum.at(painted, places, np.repeat(weights, lengths))
    owners = np.full(len(painted), -1, np.int64)
    owners[places] = np.repeat(documents, lengths)
    pairs, found = targets_of_tokens(painted, owners)
    return Marked(pairs, found, owners[pairs[:, 0]], straddled)


def targets_of_tokens(weights: FloatArray, documents: IntArray) -> tuple[IntArray, FloatArray]:
    """Return the runs of consecutive tokens of one document with one weight that is not 0, and their weights.

    Args:
        weights: `float32[V]`, the weight of each token.
        documents: `int64[V]`, the document of each token.

    >>> targets_of_tokens(np.array([0, 1, 1, 2], np.float32), np.zeros(4, np.int64))
    (array([[1, 3],
           [3, 4]]), array([1., 2.], dtype=float32))
    """
    edge = np.ones(len(weights) + 1, bool)
    edge[1:-1] = (weights[1:] != weights[:-1]) | (documents[1:] != documents[:-1])
    edges = np.flatnonzero(edge)
    runs = weights[edges[:-1]]
    pairs = np.stack([edges[:-1], edges[1:]], axis=1)
    return pairs[runs != 0], runs[runs != 0]


def mark_by_offsets(places: IntArray, offsets: IntArray, parts: Parts) -> Marked:
    """Return the targets among tokens that say where they lie: a token has the largest weight it overlaps.

    A token of no characters has the weight of the character after it, or at the end of its document of the one
    before: it stands for nothing else. Tokens may leave characters out, and several may share one.

    Args:
        places: `int64[V, 2]`, where each token begins and stops in the text of all documents.
        offsets: `int64[D + 1]`, the first token of each document.
        parts: The parts of the text.
    """
    ends, weights, _ = parts
    documents = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if not len(ends) or not len(places):
        none = np.zeros(0, np.int64)
        return Marked(none.reshape(0, 2), np.zeros(0, np.float32), none, none)
    begins = np.searchsorted(parts.documents, documents, "left")
    stops = np.searchsorted(parts.documents, documents, "right") - 1
    first = np.clip(np.searchsorted(ends, places[:, 0], "right"), begins, stops)
    last = np.clip(np.searchsorted(ends, places[:, 1], "left"), first, stops)
    held, lowest = weights[first], weights[first]
    several = np.flatnonzero(last > first)
    if len(several):
        edges = np.stack([first[several], last[several] + 1], axis=1).ravel()
        beyond = np.append(weights, np.float32(0))  # an edge may lie at the end
        held[several] = np.maximum.reduceat(beyond, edges)[::2]
        lowest[several] = np.minimum.reduceat(beyond, edges)[::2]
    pairs, found = targets_of_tokens(held, documents)
    straddled = documents[(held != 0) & (lowest == 0)]
    return Marked(pairs, found, documents[pairs[:, 0]], np.unique(straddled))


def lack_end(tokens: Ragged, spans: Ragged, ends: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return `bool[N]`: whether a record has targets, and the last of them is none of the control tokens `ends`.

    >>> tokens, spans = Ragged.from_rows([[5, 9, 1], [5, 9]]), Ragged.from_rows([[1, 2], [0, 1]], np.uint32)
    >>> lack_end(tokens, spans, np.array([9], np.uint32))
    array([False,  True])
    """
    lacking = np.zeros(len(tokens), bool)
    having = np.flatnonzero(spans.lengths)
    stops = spans.values[spans.offsets[1:][having] - 1].astype(np.int64)
    lacking[having] = ~np.isin(tokens.values[tokens.offsets[:-1][having] + stops - 1], ends)
    return lacking
