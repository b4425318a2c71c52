"""Documents that are tokens already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastcollate.errors import EncodingError
from fastcollate.ragged import Ragged, offsets_of
from fastcollate.templates.segments import TokenDocument
from fastcollate.tokenizers.boundaries import targets_of_tokens
from fastcollate.tokenizers.documents import EncodedDocuments

__all__ = ["take_tokens"]


def take_tokens(documents: Sequence[TokenDocument], vocab_size: int) -> EncodedDocuments:
    """Return the tokens of documents that have them; consecutive tokens of one weight from above 0 are a span.

    Raises:
        EncodingError: An id is none of the vocabulary.

    >>> ids, weights = np.array([5, 6, 7, 8], np.uint32), np.array([0, 1, 1, 0.5], np.float32)
    >>> encoded = take_tokens([TokenDocument(ids, weights)], vocab_size=9)
    >>> encoded.spans.values, encoded.weights
    (array([1, 3, 3, 4], dtype=uint32), array([1. , 0.5], dtype=float32))
    """
    lengths = [len(document.input_ids) for document in documents]
    offsets = offsets_of(lengths)
    ids = np.concatenate([np.empty(0, np.uint32), *(document.input_ids for document in documents)])
    weights = np.concatenate([np.empty(0, np.float32), *(document.weights for document in documents)])
    if len(ids) and int(ids.max()) >= vocab_size:
        raise EncodingError(
            f"it holds token id {ids.max()}: the encoding has ids 0 to {vocab_size - 1}; name the one that "
            "made the tokens"
        )
    owners = np.repeat(np.arange(len(documents)), lengths)
    pairs, found = targets_of_tokens(weights, owners)
    homes = owners[pairs[:, 0]]
    spans = Ragged(
        (pairs - offsets[homes][:, None]).astype(np.uint32).ravel(),
        offsets_of(2 * np.bincount(homes, minlength=len(documents))),
    )
    no = np.zeros(len(documents), bool)
    return EncodedDocuments(Ragged(ids, offsets), spans, None if bool((found == 1).all()) else found, no, no)
