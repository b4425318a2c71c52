"""Tokenised documents with their supervised spans, many at a time: given an end, cut to a length."""

from __future__ import annotations

import numpy as np

from fastcollate.ragged import Ragged

__all__ = ["append_end", "truncate"]


def append_end(tokens: Ragged, spans: Ragged, eot: int) -> tuple[Ragged, Ragged]:
    """Each record with the end token after it, supervised: its last span grows, or it gets one of its own."""
    ends = tokens.offsets[1:]
    lengths = tokens.lengths
    with_eot = np.insert(tokens.values, ends, eot)
    offsets = tokens.offsets + np.arange(len(tokens) + 1)
    has_span = spans.lengths > 0
    reaches = np.zeros(len(tokens), bool)
    reaches[has_span] = spans.values[spans.offsets[1:][has_span] - 1] == lengths[has_span]
    values = spans.values.copy()
    values[spans.offsets[1:][reaches] - 1] += 1
    alone = np.flatnonzero(~reaches)
    pairs = np.stack([lengths[alone], lengths[alone] + 1], axis=1).astype(values.dtype)
    values = np.insert(values, np.repeat(spans.offsets[1:][alone], 2), pairs.ravel())
    span_offsets = spans.offsets.copy()
    span_offsets[1:] += np.cumsum(~reaches) * 2
    return Ragged(with_eot, offsets), Ragged(values, span_offsets)


def truncate(tokens: Ragged, spans: Ragged, limit: int) -> tuple[Ragged, Ragged]:
    """Each record cut to `limit` tokens, spans with it; a span that is cut away whole disappears."""
    if not len(tokens) or int(tokens.lengths.max()) <= limit:
        return tokens, spans
    lengths = np.minimum(tokens.lengths, limit)
    kept = np.arange(len(tokens.values)) - np.repeat(tokens.offsets[:-1], tokens.lengths) < limit
    pairs = np.minimum(spans.values.reshape(-1, 2), limit)
    inside = pairs[:, 0] < pairs[:, 1]
    owner = np.repeat(np.arange(len(spans)), spans.lengths // 2)
    counts = np.bincount(owner[inside], minlength=len(spans)) * 2
    return (
        Ragged(tokens.values[kept], np.concatenate([[0], np.cumsum(lengths)])),
        Ragged(pairs[inside].ravel(), np.concatenate([[0], np.cumsum(counts)])),
    )
