"""Rows near each other become fewer, longer ones: each value once, and every row has its place among them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.ragged import MergedRows

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 9)), max_size=30)


@given(ROWS, st.integers(0, 5))
def test_every_row_is_found_at_its_place(rows, gap):
    buffers = [np.arange(100) + 1000 * home for home in range(3)]
    homes, starts, lengths = np.array(rows, np.int64).reshape(-1, 3).T
    merged = MergedRows.of(homes, starts, lengths, gap=gap)
    stretches = zip(merged.homes.tolist(), merged.begins.tolist(), merged.ends.tolist(), strict=True)
    values = np.concatenate([np.empty(0, np.int64), *(buffers[home][a:b] for home, a, b in stretches)])
    for home, start, length, place in zip(homes, starts, lengths, merged.places, strict=True):
        np.testing.assert_array_equal(values[place : place + length], buffers[home][start : start + length])


@given(ROWS, st.integers(0, 5))
def test_stretches_rise_lie_farther_apart_than_the_gap_and_hold_no_value_twice(rows, gap):
    homes, starts, lengths = np.array(rows, np.int64).reshape(-1, 3).T
    merged = MergedRows.of(homes, starts, lengths, gap=gap)
    same = np.diff(merged.homes) == 0
    assert (np.diff(merged.homes) >= 0).all()
    assert (merged.begins[1:] - merged.ends[:-1] > gap)[same].all()
    wanted = {
        (home, value)
        for home, start, length in zip(homes.tolist(), starts.tolist(), lengths.tolist(), strict=True)
        for value in range(start, start + length)
    }
    if gap == 0:
        assert int(merged.sizes.sum()) == len(wanted)
    parts = [(home, int(merged.homes[part][0])) for home, part in merged.by_home()]
    assert all(home == found for home, found in parts)


def test_rows_of_one_buffer_need_no_homes():
    merged = MergedRows.of(None, np.array([4, 0]), np.array([3, 4]))
    assert [column.tolist() for column in merged] == [[0], [0], [7], [4, 0]]


def test_no_rows_make_no_stretches():
    merged = MergedRows.of(None, np.array([], np.int64), np.array([], np.int64))
    assert [len(column) for column in merged] == [0, 0, 0, 0]
    assert list(merged.by_home()) == []
