"""Which columns of foreign files are tokens, labels and padding: a known name is honoured or refused.

The formats that have named columns share it: Arrow, Parquet, MDS, litData and WebDataset.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_files import broken
from fastcollate.errors import StoreError
from fastcollate.ragged import IntArray, offsets_of

__all__ = ["TokenColumns", "token_columns", "unpadded"]

_TOKENS = ("input_ids", "tokens")
_MASK = "attention_mask"
_NOT_IN_PLACE = {
    "completion_mask": "which tokens are learnt",
    "assistant_masks": "which tokens are learnt",
    "loss_mask": "which tokens are learnt",
    "prompt_length": "which tokens are learnt",
    "spans": "which tokens are learnt",
    "weights": "how much each token is learnt",
    "position_ids": "that records hold several documents",
    "seq_lengths": "that records hold several documents",
}


class TokenColumns(NamedTuple):
    """The names of the columns that are read: the tokens, and their labels and mask where there are such."""

    tokens: str
    labels: str | None = None
    mask: str | None = None


def token_columns(file: Path, names: Collection[str], *, has_mask: bool = False) -> TokenColumns:
    """Return which of the columns of a file are read; others, such as the text, are nobody's tokens.

    Args:
        file: The file, for messages.
        names: The names of its columns.
        has_mask: Whether the format can say that tokens are padding.

    Raises:
        StoreError: No column is tokens, or two are, or one says something that is not read in place.

    >>> token_columns(Path("a.parquet"), ["text", "input_ids", "labels"])
    TokenColumns(tokens='input_ids', labels='labels', mask=None)
    """
    found = [name for name in _TOKENS if name in names]
    if len(found) != 1:
        which = (
            "both input_ids and tokens: keep one"
            if found
            else f"no column input_ids or tokens, but {_some(names)}"
        )
        raise StoreError(f"{file} has {which}")
    said = {**_NOT_IN_PLACE, **({} if has_mask else {_MASK: "which tokens are padding"})}
    if odd := next((name for name in said if name in names), None):
        raise StoreError(
            f"{file} has a column {odd}, which says {said[odd]}: that is not read in place; make a store of it "
            "with `fastcollate prepare`, or write the file without that column"
        )
    return TokenColumns(found[0], "labels" if "labels" in names else None, _MASK if _MASK in names else None)


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:10]) or "none at all"


def unpadded(file: Path, mask: NDArray[np.integer], lengths: IntArray, first: int) -> tuple[IntArray, IntArray]:
    """Return where the tokens of rows begin and how many there are, int64[N] both: what is left without padding.

    Args:
        file: The file, for messages.
        mask: The mask of all rows side by side: 1 for a token, 0 for padding at either end of a row.
        lengths: The length of each row with its padding, int64[N].
        first: The number of the first row, for messages.

    Raises:
        StoreError: A mask has a 0 between two tokens, or another number than 0 and 1.

    >>> unpadded(Path("a.arrow"), np.array([1, 1, 0, 0, 0, 1], np.int8), np.array([4, 2]), 0)
    (array([0, 1]), array([2, 1]))
    """
    ones = np.flatnonzero(mask)
    if len(ones) == len(mask) and bool((mask == 1).all()):
        return np.zeros(len(lengths), np.int64), lengths
    if bool((mask[ones] != 1).any()):
        raise broken(file, f"{_MASK} holds other numbers than 0 and 1")
    # the mask [1 1 0 0|0 1] has its ones at 0, 1 and 5: those of the rows begin at its 0th and 2nd
    edges = offsets_of(lengths)
    within = np.searchsorted(ones, edges)
    kept = np.diff(within)
    heads, some = np.zeros(len(lengths), np.int64), np.flatnonzero(kept)
    heads[some] = ones[within[:-1][some]] - edges[:-1][some]
    tails = ones[within[1:][some] - 1] - edges[:-1][some]
    holes = some[tails - heads[some] + 1 != kept[some]]
    if len(holes):
        raise StoreError(
            f"{file}: row {first + int(holes[0])} has a 0 in {_MASK} between two tokens, which is no padding: "
            "make a store of it with `fastcollate prepare`, which leaves such tokens out"
        )
    return heads, kept
