"""What tokens tell of a store, read once in stretches."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray
from fastcollate.reports.audits import checks
from fastcollate.reports.audits.repeats import Repeats
from fastcollate.reports.audits.spellings import Spellings
from fastcollate.reports.audits.stretches import Stretch, stretches
from fastcollate.reports.chat_marks import ChatMarks, Turns, marks_of_store
from fastcollate.reports.decoded import BlankTokens
from fastcollate.reports.token_search import Hits, TokenSearch
from fastcollate.store.reader import TokenStore
from fastcollate.tokenizers.callables import CallableTokenizer
from fastcollate.tokenizers.pieces import control_names
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["RoleShare", "TokenPart", "read_tokens"]


class RoleShare(NamedTuple):
    """The turns of one role: how many, and their tokens and targets, headers and ends included."""

    role: str
    turns: int
    tokens: int
    targets: int


class TokenPart(NamedTuple):
    """What was found.

    Attributes:
        records: The records that have each kind of fault, rising, by kind.
        roles: What each role has, if there are turns.
        left_out: What could not be looked for, a sentence each.
    """

    records: dict[str, IntArray]
    roles: list[RoleShare]
    left_out: list[str]


def read_tokens(
    store: TokenStore, tokenizer: Tokenizer | None, progress: Callable[[int], object] | None
) -> TokenPart:
    """Look through all tokens of a store.

    Args:
        store: The store; it has records.
        tokenizer: What made its ids; without it less is looked for.
        progress: A function that is called with the number of records of each stretch.
    """
    marks = marks_of_store(store, tokenizer)
    left_out, spellings = [], None
    if tokenizer is not None:
        try:
            tokenizer.decode(store[0][:1])
            spellings = Spellings(tokenizer, control_names(tokenizer), marks.is_control)
        except EncodingError as error:
            left_out.append(f"control_text and empty_reasoning were not looked for: {error}")
    scan = _Scan(marks, spellings, tokenizer)
    if tokenizer is not None and not scan.knows_ends:
        left_out.append("no_end, end_only and open_turn were not looked for: the encoding has no end of a text")
    repeats = Repeats(store)
    for stretch in stretches(store):
        repeats.add(stretch)
        scan.add(stretch)
        if progress is not None:
            progress(len(stretch.offsets) - 1)
    found = {kind: np.concatenate(parts) for kind, parts in scan.found.items()}
    return TokenPart({**found, "duplicate": repeats.found()}, scan.roles(store), left_out)


class _Scan:
    """Looks at stretches, one after another, and keeps what it finds."""

    def __init__(self, marks: ChatMarks, spellings: Spellings | None, tokenizer: Tokenizer | None) -> None:
        size = len(marks.is_end) - 1
        self._marks, self._spellings, self._blanks = marks, spellings, BlankTokens(tokenizer, size)
        self.knows_ends = tokenizer is not None and bool(marks.is_end.any())
        self.found: dict[str, list[IntArray]] = {}
        self._sums = np.zeros((len(marks.roles), 3), np.int64)
        self._no_token = _without_token(tokenizer, size)
        self._search: TokenSearch | None = None

    def add(self, stretch: Stretch) -> None:
        """Look at a stretch."""
        if self._search is None:
            self._search = self._searching(stretch)
        hits = self._search.hits(stretch.tokens, stretch.offsets)
        turns = self._marks.turns_in(hits)
        before = stretch.targets_before(turns.begins)
        for kind, rows in self._faults(stretch, turns, hits, before).items():
            if len(rows):
                self.found.setdefault(kind, []).append(rows + stretch.first)
        sums = [None, turns.stops - turns.begins, stretch.targets_before(turns.stops) - before]
        for column, values in enumerate(sums):  # exact as floats, too
            self._sums[:, column] += np.bincount(turns.roles, values, minlength=len(self._sums)).astype(np.int64)

    def _searching(self, sample: Stretch) -> TokenSearch:
        """Return the search for all marks and names, and for ids that are no tokens."""
        sequences = [*self._marks.sequences, *(self._spellings.sequences if self._spellings is not None else ())]
        return TokenSearch(sequences, self._marks.is_end | self._no_token, sample.tokens)

    def _faults(self, stretch: Stretch, turns: Turns, hits: Hits, before: IntArray) -> dict[str, IntArray]:
        unknown = hits.rows[self._no_token.take(hits.ids, mode="clip")]
        faults = {
            "unknown_id": checks.marked(stretch, unknown),
            "doubled_bos": checks.doubled_beginnings(stretch, self._marks),
            "end_only": checks.only_ends(stretch, self._marks, self._blanks),
            "learnt_role": checks.learnt_headers(stretch, turns, before),
            "spelt_marks": checks.marked(stretch, turns.rows[turns.spelt]),
        }
        if self.knows_ends:
            faults["no_end"] = checks.unended(stretch, self._marks, turns)
            faults["open_turn"] = checks.open_turns(turns)
        if self._spellings is not None:
            faults["control_text"] = self._spellings.names_in(hits)
            faults["empty_reasoning"] = self._spellings.empty_blocks(hits)
        return faults

    def roles(self, store: TokenStore) -> list[RoleShare]:
        """Return what each role has, those with most targets first; what stands in no turn comes last."""
        shares = [
            RoleShare(role, *sums)
            for role, sums in zip(self._marks.roles, self._sums.tolist(), strict=True)
            if sums[0]
        ]
        if not shares:
            return []
        targets = int(store.supervised.sum(dtype=np.int64))
        outside = store.num_tokens - sum(share.tokens for share in shares)
        rest = RoleShare("outside turns", 0, outside, targets - sum(share.targets for share in shares))
        return [*sorted(shares, key=lambda share: -share.targets), *([rest] if outside else [])]


def _without_token(tokenizer: Tokenizer | None, size: int) -> NDArray[np.bool_]:
    """Return which ids no token has, bool[M+1]: gaps in a vocabulary of M ids, and, as the last, all ids past it.

    A function may have tokens without bytes, such as padding: where its gaps are is not known.
    """
    lengths = None if tokenizer is None or isinstance(tokenizer, CallableTokenizer) else tokenizer.byte_lengths()
    return np.append(np.zeros(size, bool) if lengths is None else lengths == 0, True)
