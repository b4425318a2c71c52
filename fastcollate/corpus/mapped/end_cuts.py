"""Documents of streams of tokens that have no index: cut at each end token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_rows import MappedRows, Piece
from fastcollate.errors import InputError
from fastcollate.ragged import IntArray

__all__ = ["cut_streams", "stretches"]

_AT_ONCE = 1 << 24  # tokens that are looked at together: a stream need not fit in memory


def cut_streams(
    streams: Sequence[tuple[Path, NDArray[Any]]], eot_token_id: int | None, *, usually_first: bool
) -> list[Piece]:
    """Return streams of tokens, the shards of one, as documents; one pass over all tokens.

    Each end token stays with its document. It is the document's last token, or its first one, as some programs
    write it: where the whole begins with it and does not end with it, it comes first, and where it is the other
    way round, last; else as it usually is. A document that goes on in the next file becomes two.

    Args:
        streams: The files, and their tokens.
        eot_token_id: The end token, as the caller named it.
        usually_first: Whether the program that writes such files puts the token before its document.

    Raises:
        InputError: The end token is not named, for it is never guessed, or there is none.
    """
    file = streams[0][0]
    if eot_token_id is None:
        raise InputError(
            f"{file} does not say where its documents end: name the token that ends them as eot_token_id=..., "
            "such as 50256 for GPT-2"
        )
    places = [_places(values, eot_token_id) for _, values in streams]
    if not any(map(len, places)):
        raise InputError(
            f"{file} has no token {eot_token_id} at which its documents could be cut: name the one that ends them "
            "as eot_token_id=..."
        )
    full = [values for _, values in streams if len(values)]
    begins, ends = bool(full[0][0] == eot_token_id), bool(full[-1][-1] == eot_token_id)
    first = usually_first if begins == ends else begins
    return [
        Piece(path, stretches(values, found if first else found + 1))
        for (path, values), found in zip(streams, places, strict=True)
    ]


def stretches(values: NDArray[Any], borders: IntArray) -> MappedRows:
    """Return all values in rows that end and begin at borders, which rise: int64[M].

    >>> [row.tolist() for row in stretches(np.array([7, 8, 9]), np.array([0, 2])).at(np.arange(2))]
    [[7, 8], [9]]
    """
    inner = borders[(borders > 0) & (borders < len(values))]
    edges = np.concatenate([[0], inner, [len(values)] if len(values) else []]).astype(np.int64)
    lengths = np.diff(edges)
    small = len(values) < 2**31
    return MappedRows(values, edges[:-1], lengths.astype(np.int32) if small else lengths)


def _places(values: NDArray[Any], token: int) -> IntArray:
    found = [
        np.flatnonzero(values[first : first + _AT_ONCE] == token) + first
        for first in range(0, len(values), _AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int64), *found])
