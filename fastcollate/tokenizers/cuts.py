"""Records cut to a length, with their spans and weights."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fastcollate.ragged import IntArray, Ragged, Rows, offsets_of
from fastcollate.tokenizers.boundaries import FloatArray

__all__ = ["Cut", "cut"]

Cut = Literal["truncate", "keep_end", "cut_prompt"]


def cut(
    tokens: Ragged, spans: Ragged, weights: FloatArray | None, limit: int, how: Cut = "truncate"
) -> tuple[Ragged, Ragged, FloatArray | None]:
    """Return each record cut to at most `limit` tokens, with its spans; a span that is cut away whole disappears.

    Args:
        tokens: The tokens of N records.
        spans: Their targets, as (start, stop) pairs.
        weights: `float32[S]`, the weight of each span; None is 1 for all.
        limit: The most tokens of a record, at least 1.
        how: `"truncate"` (default) cuts off the end. `"keep_end"` cuts before the last token, which stays; where
            it would be the record's only target, it is none. `"cut_prompt"` cuts off the beginning, but nothing of
            the first span or after it, and then the end of what is still too long.

    >>> tokens, spans = Ragged.from_rows([[1, 2, 3, 4, 5]]), Ragged.from_rows([[2, 5]], np.uint32)
    >>> for how in ("truncate", "keep_end", "cut_prompt"):
    ...     kept, targets, _ = cut(tokens, spans, None, 3, how)
    ...     kept.values.tolist(), targets.values.tolist()
    ([1, 2, 3], [2, 3])
    ([1, 2, 5], [])
    ([3, 4, 5], [0, 3])
    """
    lengths = tokens.lengths
    if not len(tokens) or int(lengths.max()) <= limit:
        return tokens, spans, weights
    kept = np.minimum(lengths, limit)
    dropped = _beginnings(lengths, spans, limit) if how == "cut_prompt" else np.zeros_like(lengths)
    rows = Rows(tokens.values, tokens.offsets[:-1] + dropped, kept).to_ragged()
    over = lengths > limit
    owners = np.repeat(np.arange(len(spans)), spans.lengths // 2)
    pairs = spans.compact().values.reshape(-1, 2).astype(np.int64)
    if how == "keep_end":
        values = rows.values.copy()  # what is joined is read-only
        values[rows.offsets[1:][over] - 1] = tokens.values[tokens.offsets[1:][over] - 1]
        rows = Ragged(values, rows.offsets)
        pairs = _with_ends_kept(pairs, owners, lengths, limit)
    else:
        pairs = np.clip(pairs - dropped[owners][:, None], 0, kept[owners][:, None])
    inside = pairs[:, 0] < pairs[:, 1]
    counts = np.bincount(owners[inside], minlength=len(spans)) * 2
    cut_spans = Ragged(pairs[inside].astype(spans.values.dtype).ravel(), offsets_of(counts))
    return rows, cut_spans, None if weights is None else weights[inside]


def _beginnings(lengths: IntArray, spans: Ragged, limit: int) -> IntArray:
    """Return how many tokens each record loses at its beginning: as many as are too many, but none of a span."""
    first = np.zeros_like(lengths)
    having = np.flatnonzero(spans.lengths)
    first[having] = spans.values[spans.offsets[:-1][having]]
    return np.minimum(np.maximum(lengths - limit, 0), first)


def _with_ends_kept(pairs: IntArray, owners: IntArray, lengths: IntArray, limit: int) -> IntArray:
    """Return the pairs after each longer record lost what lies between `limit - 1` tokens and its last one.

    A record of 9 tokens cut to 4: (2, 9) becomes (2, 4), and (1, 3), (8, 9) become (1, 3), (3, 4). The last of
    these is left out, by (0, 0), if no other target is left: an end without its answer teaches to answer nothing.
    """
    over = (lengths > limit)[owners]
    reaches = over & (pairs[:, 1] == lengths[owners])
    most = np.where(over, limit - 1, lengths[owners])
    short = np.minimum(pairs, most[:, None])
    answered = np.bincount(owners[short[:, 0] < short[:, 1]], minlength=len(lengths)) > 0
    short[:, 1] += reaches
    short[reaches & ~answered[owners]] = 0
    return short
