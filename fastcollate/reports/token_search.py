"""Where sequences of tokens stand in records: each is looked for by the rarest of its tokens."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import IntArray

__all__ = ["Hits", "TokenSearch", "matching", "rows_at"]

_Ids = tuple[int, ...]
_BLOCK = 1 << 16  # tokens that are looked at together: NumPy makes a number of 8 bytes of each
_SAMPLE = 1 << 18  # tokens that tell which ones are rare


class TokenSearch:
    """A `TokenSearch` looks for sequences of tokens in records side by side.

    Of each sequence one token, the anchor, is looked for among all tokens, and the others beside it. The anchor is
    the token that a sample has least often: of "<", "|", "im", "_", "start", "|", ">" this is "start".

    Args:
        sequences: The sequences; none is empty.
        wanted: Which tokens are looked for besides, bool[M+1] for M ids; the last is any other id.
        sample: Some tokens of what will be searched, uint16|uint32[V]. What is found does not depend on it.

    >>> search = TokenSearch([(5, 6)], np.zeros(10, bool), np.array([5, 5, 6]))
    >>> hits = search.hits(np.array([5, 6, 5, 5, 6, 5, 6]), np.array([0, 3, 6, 7]))
    >>> hits.of((5, 6))
    (array([0, 3]), array([0, 1]))
    """

    def __init__(self, sequences: Iterable[_Ids], wanted: NDArray[np.bool_], sample: NDArray[Any]) -> None:
        known = list(dict.fromkeys(sequences))
        size = max([len(wanted), *(max(ids) + 2 for ids in known)])
        self._wanted = np.append(wanted, np.full(size - len(wanted), wanted[-1]))
        counts = np.bincount(np.minimum(sample[:_SAMPLE], size - 1), minlength=size)
        self._orders = {ids: _rare_first(ids, counts) for ids in known}
        self._wanted[[ids[order[0]] for ids, order in self._orders.items()]] = True

    def order(self, ids: _Ids) -> list[int]:
        """Return the places in a sequence in the order in which they are looked at, the anchor's first."""
        return self._orders[ids]

    def hits(self, tokens: NDArray[Any], offsets: IntArray) -> Hits:
        """Return where anchors and other wanted tokens stand.

        Args:
            tokens: The tokens of the records, uint16|uint32[V].
            offsets: Where each record begins and the last one ends, int64[N+1].
        """
        parts = [
            np.flatnonzero(self._wanted.take(tokens[at : at + _BLOCK], mode="clip")) + at
            for at in range(0, max(len(tokens), 1), _BLOCK)
        ]
        return Hits(self, tokens, offsets, np.concatenate(parts))


class Hits:
    """`Hits` are the places of the tokens that a `TokenSearch` looked for, and lead to those of its sequences.

    Attributes:
        tokens: The tokens of the records, uint16|uint32[V].
        offsets: Where each record begins and the last one ends, int64[N+1].
        places: The places, rising, int64[M].
        ids: The token at each, uint16|uint32[M].
    """

    def __init__(self, search: TokenSearch, tokens: NDArray[Any], offsets: IntArray, places: IntArray) -> None:
        self.tokens, self.offsets, self.places = tokens, offsets, places
        self.ids = tokens.take(places)
        self._search = search
        self._near: dict[int, IntArray] = {}

    @cached_property
    def rows(self) -> IntArray:
        """The record of each place, int64[M]."""
        return rows_at(self.offsets, self.places)

    def of(self, ids: _Ids) -> tuple[IntArray, IntArray]:
        """Return where a sequence of the search begins, rising, and the record of each: int64[S] both."""
        at, *others = self._search.order(ids)
        if ids[at] not in self._near:
            self._near[ids[at]] = np.flatnonzero(self.ids == ids[at])
        near = self._near[ids[at]]
        if len(near) == 0:
            return near, near
        begins = self.places.take(near) - at
        within = slice(*np.searchsorted(begins, [0, len(self.tokens) - len(ids) + 1]).tolist())
        near, begins = near[within], begins[within]
        for i in others:
            fits = self.tokens.take(begins + i) == ids[i]
            if not fits.all():
                near, begins = near[fits], begins[fits]
        rows = self.rows.take(near)
        if others:  # a sequence may lie in two records
            whole = (begins >= self.offsets.take(rows)) & (begins + len(ids) <= self.offsets.take(rows + 1))
            if not whole.all():
                begins, rows = begins[whole], rows[whole]
        return begins, rows


def _rare_first(ids: _Ids, counts: IntArray) -> list[int]:
    """Return the places in a sequence, the rarest token's first; of equals the largest id's, which is rare."""
    return sorted(range(len(ids)), key=lambda i: (counts[ids[i]], -ids[i], i))


def rows_at(offsets: IntArray, places: IntArray) -> IntArray:
    """Return the record of each place, int64[M]; places rise, so that the few records are looked for among them.

    >>> rows_at(np.array([0, 3, 5]), np.array([1, 2, 4]))
    array([0, 0, 1])
    """
    return np.repeat(np.arange(len(offsets) - 1), np.diff(np.searchsorted(places, offsets)))


def matching(tokens: NDArray[Any], at: IntArray, limits: IntArray, ids: _Ids) -> NDArray[np.bool_]:
    """Return whether `ids` stand at each place `at` and end before its limit, bool[M].

    >>> matching(np.array([5, 6, 5, 6]), np.array([0, 1, 2]), np.array([4, 4, 3]), (5, 6))
    array([ True, False, False])
    """
    left = np.flatnonzero(at + len(ids) <= limits)
    places = at[left]
    for i, token in enumerate(ids):
        fits = tokens[places + i] == token
        if not fits.all():
            left, places = left[fits], places[fits]
    good = np.zeros(len(at), bool)
    good[left] = True
    return good
