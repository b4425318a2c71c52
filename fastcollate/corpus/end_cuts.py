"""Documents of a stream of tokens that has no index: cut behind each end token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped_rows import MappedRows
from fastcollate.errors import InputError
from fastcollate.ragged import offsets_of

__all__ = ["cut_behind", "end_token", "ends_in"]

_AT_ONCE = 1 << 24  # tokens that are looked at together: a stream need not fit in memory


def end_token(eot_token_id: int | None, file: Path) -> int:
    """Return the end token that the caller named.

    Raises:
        InputError: He named none; it is never guessed.
    """
    if eot_token_id is None:
        raise InputError(
            f"{file} does not say where its documents end: name the token that ends them as eot_token_id=..., "
            "such as 50256 for GPT-2"
        )
    return eot_token_id


def ends_in(values: NDArray[Any], eot_token_id: int) -> NDArray[np.int64]:
    """Return the places behind each end token, and that behind the last token, int64[N]; one pass over the tokens.

    >>> ends_in(np.array([5, 6, 0, 7, 0, 8]), 0)
    array([3, 5, 6])
    """
    found = [
        np.flatnonzero(values[first : first + _AT_ONCE] == eot_token_id) + (first + 1)
        for first in range(0, len(values), _AT_ONCE)
    ]
    ends = np.concatenate([*found, np.zeros(0, np.int64)])
    rest = len(values) > (int(ends[-1]) if len(ends) else 0)
    return np.append(ends, len(values)) if rest else ends


def cut_behind(values: NDArray[Any], eot_token_id: int) -> MappedRows:
    """Return a stream as documents: each has the end token that ends it, the last one perhaps none."""
    ends = ends_in(values, eot_token_id)
    lengths = np.diff(ends, prepend=0)
    return MappedRows(values, offsets_of(lengths)[:-1], lengths)
