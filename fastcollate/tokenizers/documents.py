"""Documents to tokens: encoded, with the supervised ones marked, given an end, cut to a length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import EncodingError, InputError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.templates.segments import Document
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["encode_documents", "truncate"]


def encode_documents(
    tokenizer: Tokenizer, documents: Sequence[Document], *, end_token_id: int | None = None
) -> tuple[Ragged, Ragged]:
    """Return the uint32 token ids of D documents, and which of each document's tokens are supervised.

    Each document's whole text is encoded at once, as ordinary text (`<|endoftext|>` in it is just letters),
    so the tokens do not depend on where the segments meet. A token that straddles the edge of a
    supervised stretch is left out of the span. Lone surrogates become U+FFFD, as tiktoken has it.

    Args:
        tokenizer: The tokenizer.
        documents: The documents; weight 1 makes a segment supervised, weight 0 does not.
        end_token_id: A token put after each document and supervised; None (default) puts none.

    Returns:
        The tokens, and the spans as uint32 (start, stop) pairs, which count from each document's first token.

    Raises:
        EncodingError: The tokenizer drops part of a text.
        InputError: A segment has another weight or is a control token, or a document is of a group: a store of
            this version holds none of these.

    >>> from fastcollate.tokenizers.load import load_encoding
    >>> from fastcollate.templates.segments import Segment
    >>> documents = [Document([Segment("2+2="), Segment("4", weight=1.0)]), Document([Segment("hi")])]
    >>> tokens, spans = encode_documents(load_encoding("bytes"), documents)
    >>> tokens.values, tokens.offsets
    (array([ 50,  43,  50,  61,  52, 104, 105], dtype=uint32), array([0, 5, 7]))
    >>> spans.values, spans.offsets
    (array([4, 5], dtype=uint32), array([0, 2, 2]))
    """
    texts, sizes = [], []
    for document in documents:
        text, segment_sizes = _join([segment.text for segment in document.segments])
        texts.append(text)
        sizes += segment_sizes
    supervised = _targets(documents)
    segment_offsets = _offsets([len(document.segments) for document in documents])
    segment_ends = _offsets(sizes)
    tokens = tokenizer.encode_batch(texts)
    values, offsets = tokens.values, tokens.offsets
    byte_ends = _offsets(tokenizer.byte_lengths()[values])
    _check_coverage(tokenizer.name, byte_ends[offsets], segment_ends[segment_offsets])
    spans, owners = _spans(byte_ends, segment_ends, segment_offsets, supervised)
    spans -= offsets[owners][:, None]
    if end_token_id is not None:
        spans, owners = _with_ends(spans, owners, np.diff(offsets))
        values = np.insert(values, offsets[1:], end_token_id)
        offsets = offsets + np.arange(len(offsets))
    span_offsets = _offsets(2 * np.bincount(owners, minlength=len(documents)))
    return Ragged(values, offsets), Ragged(spans.astype(np.uint32).reshape(-1), span_offsets)


def truncate(tokens: Ragged, spans: Ragged, limit: int) -> tuple[Ragged, Ragged]:
    """Return each document cut to `limit` tokens, spans with it; a span that is cut away whole disappears."""
    if not len(tokens) or int(tokens.lengths.max()) <= limit:
        return tokens, spans
    lengths = np.minimum(tokens.lengths, limit)
    kept = np.arange(len(tokens.values)) - np.repeat(tokens.offsets[:-1], tokens.lengths) < limit
    pairs = np.minimum(spans.values.reshape(-1, 2), limit)
    inside = pairs[:, 0] < pairs[:, 1]
    owners = np.repeat(np.arange(len(spans)), spans.lengths // 2)
    counts = np.bincount(owners[inside], minlength=len(spans)) * 2
    return Ragged(tokens.values[kept], _offsets(lengths)), Ragged(pairs[inside].ravel(), _offsets(counts))


def _join(texts: list[str]) -> tuple[str, list[int]]:
    """Return one text, as tiktoken will read it, and how many of its bytes each piece contributes."""
    text = "".join(texts)
    if text.isascii():
        return text, [len(piece) for piece in texts]
    try:
        return text, [len(piece.encode()) for piece in texts]
    except UnicodeEncodeError:
        # Mended as a whole: the two halves of a surrogate pair may lie in neighbouring pieces.
        ends = [0, *(len(_mend(prefix).encode()) for prefix in accumulate(texts))]
        return _mend(text), [stop - start for start, stop in pairwise(ends)]


def _mend(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates, the way `tiktoken.Encoding.encode_ordinary` does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _targets(documents: Sequence[Document]) -> NDArray[np.bool_]:
    """Return whether each segment of all documents is supervised."""
    segments = [segment for document in documents for segment in document.segments]
    weights = np.array([segment.weight for segment in segments], float)
    supervised: NDArray[np.bool_] = weights == 1
    odd = np.flatnonzero(~supervised & (weights != 0))
    if len(odd):
        raise InputError(
            f"a segment has weight {weights[odd[0]]:g}: it must be 0 or 1, all that a store holds yet"
        )
    if any(segment.control for segment in segments):
        raise InputError("a segment is a control token: a template gives ordinary text only as yet")
    if any(document.group is not None for document in documents):
        raise InputError("a document is of a group: a store holds no groups yet; leave group at None")
    return supervised


def _offsets(counts: Iterable[int] | IntArray) -> IntArray:
    counts = np.asarray(counts, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _check_coverage(name: str, found: IntArray, wanted: IntArray) -> None:
    """Raise if the pattern skipped some text: byte offsets would mean nothing."""
    wrong = np.flatnonzero(found != wanted)
    if len(wrong):
        raise EncodingError(
            f'encoding "{name}" drops text of document {wrong[0] - 1} of this chunk: its '
            "pattern must match every character; let it end in |(?s:.)"
        )


def _spans(
    byte_ends: IntArray, segment_ends: IntArray, segment_offsets: IntArray, supervised: NDArray[np.bool_]
) -> tuple[IntArray, IntArray]:
    """Return supervised stretches as int64[S, 2] positions among all tokens, and int64[S], the document of each.

    Tokens of 3, 1 and 4 bytes: byte_ends = [0, 3, 4, 8]. A stretch over bytes 2..8 holds tokens 1 and 2:
    the first to begin at 2 or later is 1, and 3 of them end at 8 or before.
    """
    owners = np.repeat(np.arange(len(segment_offsets) - 1), np.diff(segment_offsets))
    kept = np.flatnonzero(np.diff(segment_ends) > 0)  # an empty segment parts nothing
    owners, supervised = owners[kept], supervised[kept]
    # A stretch begins or ends where the document or the flag changes from one segment to the next.
    edge = np.ones(len(kept) + 1, bool)
    edge[1:-1] = (owners[1:] != owners[:-1]) | (supervised[1:] != supervised[:-1])
    first = np.searchsorted(byte_ends[:-1], segment_ends[kept][edge[:-1] & supervised], "left")
    last = np.searchsorted(byte_ends[1:], segment_ends[kept + 1][edge[1:] & supervised], "right")
    held = first < last
    return np.stack([first, last], axis=1)[held], owners[edge[:-1] & supervised][held]


def _with_ends(spans: IntArray, owners: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """Return the spans with one more token after each document: its last span grows, or the token has its own.

    Documents of 3 and 2 tokens with the spans (1, 3) and (0, 1): now (1, 4), (0, 1), (2, 3), of 0, 1, 1.
    """
    reach = spans[:, 1] == lengths[owners]  # only a document's last span can
    spans[:, 1] += reach
    alone = np.ones(len(lengths), bool)
    alone[owners[reach]] = False
    documents = np.flatnonzero(alone)
    at = np.searchsorted(owners, documents, side="right")
    added = np.stack([lengths[documents], lengths[documents] + 1], axis=1)
    return np.insert(spans, at, added, axis=0), np.insert(owners, at, documents)
