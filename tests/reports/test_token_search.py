"""Sequences of tokens are found at their places, whatever token they are looked for by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.reports.audits.stretches import Stretch
from fastcollate.reports.token_search import TokenSearch

ids = st.integers(0, 3)
rows_of_ids = st.lists(st.lists(ids, min_size=1, max_size=9), min_size=1, max_size=6)
sequences = st.lists(st.lists(ids, min_size=1, max_size=4).map(tuple), min_size=1, max_size=4)


@pytest.mark.parametrize("block", [2, 1 << 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@given(rows_of_ids, sequences, st.lists(st.integers(0, 70_000), max_size=9))
def test_sequences_are_found_where_a_loop_finds_them(block, dtype, rows, sought, sample):
    tokens, offsets = np.concatenate(rows).astype(dtype), np.cumsum([0, *map(len, rows)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fastcollate.reports.token_search._BLOCK", block)
        hits = TokenSearch(sought, np.zeros(2, bool), np.array(sample, np.uint32)).hits(tokens, offsets)
    for sequence in sought:
        expected = [
            (offsets[number] + at, number)
            for number, row in enumerate(rows)
            for at in range(len(row))
            if tuple(row[at : at + len(sequence)]) == sequence
        ]
        at, numbers = hits.of(sequence)
        assert at.dtype == numbers.dtype == np.int64
        assert list(zip(at.tolist(), numbers.tolist(), strict=True)) == expected


def test_wanted_tokens_and_ids_past_the_vocabulary_are_hits():
    wanted = np.array([False, True, False, True])  # ids 0 to 2, and any other
    hits = TokenSearch([(2, 0)], wanted, np.array([0, 0, 2])).hits(
        np.array([0, 1, 2, 9, 70_000]), np.array([0, 5])
    )
    np.testing.assert_array_equal(hits.places, [1, 2, 3, 4])
    np.testing.assert_array_equal(hits.ids, [1, 2, 9, 70_000])
    np.testing.assert_array_equal(hits.rows, [0, 0, 0, 0])


runs_of_targets = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=8)


@given(runs_of_targets, st.lists(st.integers(0, 60), max_size=20).map(sorted))
def test_targets_before_places_and_the_last_one_are_those_of_a_mask(runs, places):
    edges = np.cumsum(np.array(runs, np.int64).reshape(-1))
    starts, stops = edges[::2], edges[1::2]
    mask = np.zeros(70, bool)
    for start, stop in zip(starts, stops, strict=True):
        mask[start:stop] = True
    before = np.concatenate([[0], np.cumsum(stops - starts)])
    stretch = Stretch(
        0, np.zeros(70, np.uint16), np.array([0, 70]), starts, stops, np.array([0, len(runs)]), before
    )
    at = np.array(places, np.int64)
    np.testing.assert_array_equal(stretch.targets_before(at), [mask[:place].sum() for place in places])
    begins = np.maximum(at - 5, 0)
    last = [max([i + 1 for i in range(b, s) if mask[i]], default=-1) for b, s in zip(begins, places, strict=True)]
    np.testing.assert_array_equal(stretch.last_target(begins, at), last)
