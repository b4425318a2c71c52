"""Static widths minimise padding, exactly."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import best_widths

from fastcollate import PlanError
from fastcollate.plan.widths import choose_widths, optimal_widths


def cells(widths, lengths, counts):
    return int((np.asarray(widths)[np.searchsorted(widths, lengths)] * counts).sum())


@given(st.dictionaries(st.integers(1, 40), st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 10))
def test_no_other_choice_pads_less(histogram, k):
    lengths = sorted(histogram)
    counts = [histogram[length] for length in lengths]
    widths = optimal_widths(np.array(lengths), np.array(counts), k)
    assert widths == sorted(set(widths))
    assert len(widths) <= k
    assert cells(widths, np.array(lengths), np.array(counts)) == best_widths(lengths, counts, k)


def test_many_lengths_take_well_under_a_second():
    counts = np.random.default_rng(0).integers(1, 10**6, 8192)
    begun = time.perf_counter()
    widths = optimal_widths(np.arange(1, 8193), counts, 32)
    assert time.perf_counter() - begun < 5  # about 0.3 s; the rest is for a busy machine
    assert len(widths) == 32
    assert widths[-1] == 8192


def test_a_list_of_widths_is_taken_as_far_as_it_is_needed():
    assert choose_widths([64, 128, 256], np.array([10, 100]), np.array([1, 1])) == [64, 128]
    assert choose_widths(None, np.array([10]), np.array([1])) is None


@pytest.mark.parametrize(
    ("buckets", "message"),
    [
        ([64, 64], "widths must rise"),
        ([128, 64], "widths must rise"),
        ([], "widths must rise"),
        ([0, 200], "at least 1"),
        ([16, 32], "buckets end at 32 but the longest record has 100 tokens"),
        (0, "buckets is 0: it must be an integer, at least 1"),
        ([64.5, 200], r"a bucket's width is 64\.5: it must be an integer"),
    ],
)
def test_bad_buckets_are_named(buckets, message):
    with pytest.raises(PlanError, match=message):
        choose_widths(buckets, np.array([10, 100]), np.array([1, 1]))
