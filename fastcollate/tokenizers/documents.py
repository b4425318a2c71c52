"""Documents to tokens: encoded, with the targets marked, control tokens put in, given an end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray, Ragged, offsets_of
from fastcollate.templates.segments import Document, Texts
from fastcollate.tokenizers.boundaries import FloatArray, Parts, mark_by_offsets, mark_by_sizes
from fastcollate.tokenizers.pieces import Pieces, take_apart
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["EncodedDocuments", "encode_documents"]


class EncodedDocuments(NamedTuple):
    """The tokens of D documents.

    Attributes:
        tokens: The uint32 ids, a row for each document.
        spans: The targets as uint32 (start, stop) pairs, which count from each document's first token. Consecutive
            targets of one weight are one span.
        weights: `float32[S]`, the weight of each span; None where all are 1.
        straddled: `bool[D]`, whether a token holds bytes of a target and of a part that is none.
        control_spelt: `bool[D]`, whether ordinary text spells the name of a control token.
        absent: Documents, and the names of control tokens in them that the tokenizer does not have: these are
            ordinary text.
    """

    tokens: Ragged
    spans: Ragged
    weights: FloatArray | None
    straddled: NDArray[np.bool_]
    control_spelt: NDArray[np.bool_]
    absent: frozenset[tuple[int, str]] = frozenset()


def encode_documents(
    tokenizer: Tokenizer, documents: Sequence[Document] | Texts, *, end_token_id: int | None = None
) -> EncodedDocuments:
    """Return the token ids of D documents, and which of each document's tokens are targets.

    Segments that are no control tokens are encoded together, as ordinary text (`<|endoftext|>` in it is just
    letters), so the tokens do not depend on where the segments meet. A token that holds any byte of a supervised
    segment is a target; one that holds bytes of two weights has the larger. A control segment becomes the control
    token of that name, or, if the tokenizer has none, ordinary text of its own. Lone surrogates become U+FFFD, as
    tiktoken has it.

    Args:
        tokenizer: The tokenizer.
        documents: The documents. A segment's weight is that of its tokens in the loss: 0 makes no targets.
        end_token_id: A token put after each document that does not end with it, or with it and blanks that are no
            target; None (default) puts none. It has the weight of the document's last segment that is a target or
            a control token; text that is neither is passed over.

    Raises:
        EncodingError: The tokenizer drops part of a text, or cannot encode it; `document` is its number.
        InputError: A segment's weight is no number from 0.

    >>> from fastcollate.templates.segments import Segment
    >>> from fastcollate.tokenizers.load import load_encoding
    >>> documents = [Document([Segment("2+2="), Segment("4", weight=1.0)]), Document([Segment("hi")])]
    >>> encoded = encode_documents(load_encoding("bytes"), documents, end_token_id=256)
    >>> encoded.tokens.values, encoded.tokens.offsets
    (array([ 50,  43,  50,  61,  52, 256, 104, 105, 256], dtype=uint32), array([0, 6, 9]))
    >>> encoded.spans.values, encoded.spans.offsets
    (array([4, 6], dtype=uint32), array([0, 2, 2]))
    """
    lengths = tokenizer.byte_lengths()
    pieces = take_apart(tokenizer, documents, in_bytes=lengths is not None)
    if not getattr(tokenizer, "knows_places", True):
        _check_whole(tokenizer.name, pieces)
    try:
        laid = _encoded(tokenizer, pieces, end_token_id, in_bytes=lengths is not None)
    except EncodingError as error:
        raise _of_document(error, pieces) from None
    kept = laid.sizes > 0  # an empty segment parts nothing
    owners = np.repeat(np.arange(len(pieces.spelt)), np.diff(laid.segment_offsets))
    parts = Parts(np.cumsum(laid.sizes)[kept], laid.weights[kept], owners[kept])
    if lengths is not None:
        byte_ends = _byte_ends(lengths, laid)
        _check_coverage(tokenizer.name, byte_ends[laid.offsets], offsets_of(laid.sizes)[laid.segment_offsets])
        marked = mark_by_sizes(byte_ends, parts)
    else:
        marked = mark_by_offsets(cast("IntArray", laid.places), laid.offsets, parts)
    pairs = (marked.pairs - laid.offsets[marked.documents][:, None]).astype(np.uint32)
    counts = np.bincount(marked.documents, minlength=len(pieces.spelt))
    straddled = np.zeros(len(pieces.spelt), bool)
    straddled[marked.straddled] = True
    return EncodedDocuments(
        Ragged(laid.ids, laid.offsets),
        Ragged(pairs.reshape(-1), offsets_of(2 * counts)),
        None if bool((marked.weights == 1).all()) else marked.weights,
        straddled,
        pieces.spelt,
        pieces.absent,
    )


class _Laid(NamedTuple):
    """Tokens in their order, and the segments that they are of.

    Attributes:
        ids: `uint32[V]`, the tokens of all documents.
        offsets: `int64[D + 1]`, the first token of each document.
        single: The places of the tokens that are segments of their own, of size 1.
        places: `int64[V, 2]`, where each token lies among the characters of all documents, or None.
        sizes: The bytes (or characters) of each segment, 1 for a control token.
        weights: The weight of each segment.
        segment_offsets: `int64[D + 1]`, the first segment of each document.
    """

    ids: NDArray[np.uint32]
    offsets: IntArray
    single: IntArray
    places: IntArray | None
    sizes: IntArray
    weights: FloatArray
    segment_offsets: IntArray


def _encoded(tokenizer: Tokenizer, pieces: Pieces, end_token_id: int | None, *, in_bytes: bool) -> _Laid:
    """Encode the documents, and give each its end: at once, where the tokenizer can and each is one text."""
    if end_token_id is None:
        return _laid_out(tokenizer, pieces, in_bytes=in_bytes)
    weights, ended = _ends(pieces, end_token_id)
    at_once = getattr(tokenizer, "encode_ended", None)
    whole = not len(pieces.marked) and len(pieces.texts) == len(pieces.spelt)
    if at_once is not None and whole and in_bytes and end_token_id == tokenizer.eot_token_id:
        tokens: Ragged | None = at_once(pieces.texts)
        if tokens is not None:
            ends, own = tokens.offsets[1:] - 1, np.ones(len(weights), bool)
            return _Laid(tokens.values, tokens.offsets, ends, None, *_segments_with_ends(pieces, weights, own))
    return _with_ends(_laid_out(tokenizer, pieces, in_bytes=in_bytes), weights, ended, end_token_id)


def _segments_with_ends(
    segments: Pieces | _Laid, weights: FloatArray, added: NDArray[np.bool_]
) -> tuple[IntArray, FloatArray, IntArray]:
    """Return sizes, weights and offsets of the segments with an end after each document in `added`."""
    at, offsets = segments.segment_offsets[1:][added], segments.segment_offsets
    sizes, weights = np.insert(segments.sizes, at, 1), np.insert(segments.weights, at, weights[added])
    return sizes, weights, offsets + offsets_of(added)


def _laid_out(tokenizer: Tokenizer, pieces: Pieces, *, in_bytes: bool) -> _Laid:
    """Encode the texts, and put the control tokens between them."""
    before = pieces.texts_before
    places = None
    if in_bytes:
        tokens = tokenizer.encode_batch(pieces.texts)
    else:
        tokens, places = tokenizer.encode_with_offsets(pieces.texts)
        begins = offsets_of(pieces.sizes)[:-1][np.diff(before) > 0]  # of each text, among all characters
        places = places + np.repeat(begins, tokens.lengths)[:, None]
    ids, offsets = tokens.values, tokens.offsets
    at = offsets[before[pieces.controls]]
    if len(at):
        ids = np.insert(ids, at, pieces.control_ids)
        if places is not None:
            begins = offsets_of(pieces.sizes)[pieces.controls]
            places = np.insert(places, at, np.stack([begins, begins + 1], axis=1), axis=0)
    firsts = pieces.segment_offsets
    row_offsets = offsets[before[firsts]] + np.searchsorted(pieces.controls, firsts)
    return _Laid(ids, row_offsets, at + np.arange(len(at)), places, pieces.sizes, pieces.weights, firsts)


def _byte_ends(lengths: IntArray, laid: _Laid) -> NDArray[np.signedinteger[Any]]:
    """Return where each token begins among the bytes of all, and where the last one ends; int32 if it can.

    Small integers take a third of the time.
    """
    widths = lengths.astype(np.min_scalar_type(int(lengths.max()))).take(laid.ids)
    widths[laid.single] = 1
    dtype: type[Any] = np.int32 if int(laid.sizes.sum()) < 1 << 31 else np.int64
    ends = np.zeros(len(widths) + 1, dtype)
    np.cumsum(widths, dtype=dtype, out=ends[1:])
    return ends


def _of_document(error: EncodingError, pieces: Pieces) -> EncodingError:
    """Return the error about a text as one about its document."""
    if error.document is None:
        return error
    segment = int(np.searchsorted(pieces.texts_before, error.document, "right")) - 1
    document = int(np.searchsorted(pieces.segment_offsets, segment, "right")) - 1
    return EncodingError(str(error), document=document)


def _check_whole(name: str, pieces: Pieces) -> None:
    """Raise if a text has two weights, and nobody knows which tokens are of which part."""
    text = pieces.texts_before[1:]
    kept = np.flatnonzero((pieces.sizes > 0) & ~np.isin(np.arange(len(text)), pieces.controls))
    same_text = text[kept][1:] == text[kept][:-1]
    wrong = np.flatnonzero(same_text & (pieces.weights[kept][1:] != pieces.weights[kept][:-1]))
    if len(wrong):
        document = int(np.searchsorted(pieces.segment_offsets, kept[wrong[0]], "right")) - 1
        raise EncodingError(
            f'the text is a target in part, and "{name}" does not say where its tokens '
            "lie: give Tokenizer.from_callable byte_lengths=, or use a template that supervises whole texts",
            document=document,
        )


def _ends(pieces: Pieces, end_token_id: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the weight that an end has in each document, and whether the document has its end already.

    The weight is that of the last target, or of a later control token. As `<|im_end|>` and a line feed that is no
    target end a turn, so they end the text where `<|im_end|>` is the end token.
    """
    decides = pieces.weights != 0
    decides[pieces.marked] = True
    deciding = np.flatnonzero(decides & (pieces.sizes > 0))
    before = np.searchsorted(deciding, pieces.segment_offsets)
    some = np.flatnonzero(before[1:] > before[:-1])
    last = deciding[before[1:][some] - 1]
    weights, ended = np.zeros(len(before) - 1, np.float32), np.zeros(len(before) - 1, bool)
    weights[some] = pieces.weights[last]
    ending = np.isin(last, pieces.controls[pieces.control_ids == end_token_id])
    starts = pieces.texts_before[last[ending] + 1].tolist()
    stops = pieces.texts_before[pieces.segment_offsets[1:][some[ending]]].tolist()
    after = [pieces.texts[start:stop] for start, stop in zip(starts, stops, strict=True)]
    ended[some[ending]] = [not any(map(str.strip, texts)) for texts in after]
    return weights, ended


def _with_ends(laid: _Laid, weights: FloatArray, ended: NDArray[np.bool_], end_token_id: int) -> _Laid:
    """Put the end token, as a segment of its own, after each document that has not ended with it."""
    ids, offsets = laid.ids, laid.offsets
    filled = np.flatnonzero(np.diff(offsets))
    added = ~ended
    added[filled] &= ids[offsets[1:][filled] - 1] != end_token_id
    shift = offsets_of(added)
    at = offsets[1:][added]
    places = laid.places
    if places is not None:
        ends = (offsets_of(laid.sizes)[laid.segment_offsets[1:]] + shift[:-1])[added]
        places = places + np.repeat(shift[:-1], np.diff(offsets))[:, None]
        places = np.insert(places, at, np.stack([ends, ends + 1], axis=1), axis=0)
    return _Laid(
        np.insert(ids, at, end_token_id),
        offsets + shift,
        np.concatenate([laid.single + np.searchsorted(at, laid.single, "right"), at + np.arange(len(at))]),
        places,
        *_segments_with_ends(laid, weights, added),
    )


def _check_coverage(name: str, found: NDArray[np.signedinteger[Any]], wanted: IntArray) -> None:
    """Raise if the pattern skipped some text: byte offsets would mean nothing."""
    wrong = np.flatnonzero(found != wanted)
    if len(wrong):
        raise EncodingError(
            f'encoding "{name}" drops text: its pattern must match every character; let it end in |(?s:.)',
            document=int(wrong[0]) - 1,
        )
