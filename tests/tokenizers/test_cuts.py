"""Records cut to a length keep what they were asked to keep, and their spans with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import spans_of

from fastcollate.ragged import Ragged
from fastcollate.tokenizers.cuts import cut


@st.composite
def records(draw):
    """The weight of each token; spans are runs of one weight."""
    return draw(st.lists(st.lists(st.sampled_from([0, 0, 1, 2]), max_size=9), max_size=5))


def ragged_of(rows):
    spans = [spans_of(row) for row in rows]
    tokens = Ragged.from_rows([np.arange(len(row)) for row in rows], np.uint32)
    weights = np.array([weight for _, found in spans for weight in found], np.float32)
    return tokens, Ragged.from_rows([pairs for pairs, _ in spans], np.uint32), weights


def kept_slowly(row, limit, how):
    """The places that stay, and the weight of each."""
    if len(row) <= limit:
        return list(range(len(row))), list(row)
    first = 0
    if how == "cut_prompt" and any(row):
        first = min(len(row) - limit, next(i for i, weight in enumerate(row) if weight))
    places = list(range(first, first + limit))
    if how == "keep_end":
        places[-1] = len(row) - 1
    weights = [row[place] for place in places]
    if how == "keep_end" and not any(weights[:-1]):
        weights[-1] = 0
    return places, weights


@given(records(), st.integers(1, 6), st.sampled_from(["truncate", "keep_end", "cut_prompt"]))
def test_a_cut_is_what_the_slow_way_gives(rows, limit, how):
    tokens, spans, weights = cut(*ragged_of(rows), limit, how)
    wanted = [kept_slowly(row, limit, how) for row in rows]
    assert tokens == Ragged.from_rows([places for places, _ in wanted], np.uint32)
    assert [part.values.dtype for part in (tokens, spans)] == [np.uint32, np.uint32]
    painted = [np.zeros(len(row)) for row in tokens]
    owners = np.repeat(np.arange(len(spans)), spans.lengths // 2)
    for owner, (start, stop), weight in zip(owners, spans.values.reshape(-1, 2), weights, strict=True):
        assert start < stop
        assert not painted[owner][start:].any()
        painted[owner][start:stop] = weight
    assert [row.tolist() for row in painted] == [found for _, found in wanted]


@pytest.mark.parametrize("how", ["truncate", "keep_end", "cut_prompt"])
def test_what_is_short_enough_is_not_copied(how):
    tokens, spans, weights = ragged_of([[1, 1], [0]])
    for given_weights in (weights, None):
        kept = cut(tokens, spans, given_weights, 2, how)
        assert (kept[0], kept[1], kept[2]) == (tokens, spans, given_weights)
        assert kept[0].values is tokens.values


def test_without_weights_there_are_none_after_a_cut():
    tokens, spans, _ = ragged_of([[0, 1, 1]])
    assert cut(tokens, spans, None, 2)[2] is None


def test_an_end_without_its_answer_is_no_target():
    tokens, spans, _ = ragged_of([[0, 0, 0, 1, 1], [0, 1, 0, 0, 1]])
    _, kept, _ = cut(tokens, spans, None, 3, "keep_end")
    assert [row.tolist() for row in kept] == [[], [1, 2, 2, 3]]
