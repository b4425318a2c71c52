"""Rows of several arrays are copied as stretches of one view, and nothing outside the arrays is ever read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.ragged import Scattered, Span, scattered


def scattered_of(arrays, rows):
    """Rows given as (array, start, length)."""
    homes, starts, lengths = np.array(rows, np.int64).reshape(-1, 3).T
    return Scattered(arrays, np.result_type(*arrays), homes if len(arrays) > 1 else None, starts, lengths)


def one_by_one(rows, at, cells):
    """What `laid_out` returns, with -1 wherever anything may stand."""
    out = np.full(cells, -1)
    for i, place in enumerate(at):
        home = 0 if rows.homes is None else rows.homes[i]
        start, length = rows.starts[i], rows.lengths[i]
        out[place : place + length] = rows.buffers[home][start : start + length]
    return out


@st.composite
def cases(draw):
    kinds = draw(st.lists(st.sampled_from([np.uint16, np.uint32]), min_size=1, max_size=4))
    if draw(st.booleans()):
        kinds = kinds[:1] * len(kinds)
    sizes = [draw(st.integers(0, 30)) for _ in kinds]
    pairs = enumerate(zip(kinds, sizes, strict=True))
    arrays = [np.arange(100 * i, 100 * i + size).astype(kind) for i, (kind, size) in pairs]
    rows, at, cell = [], [], draw(st.integers(0, 3))
    for _ in range(draw(st.integers(0, 8))):
        home = draw(st.integers(0, len(arrays) - 1))
        start = draw(st.integers(0, sizes[home]))
        length = draw(st.integers(0, sizes[home] - start))
        rows.append((home, start, length))
        at.append(cell)
        cell += length + draw(st.integers(0, 4))
    return scattered_of(arrays, rows), np.array(at, np.int64), cell


@pytest.mark.parametrize("many", [100, 1], ids=["as measured", "in blocks"])
@given(case=cases())
def test_rows_are_laid_out_as_one_by_one(many, case):
    rows, at, cells = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scattered, "_MANY", many)
        found, expected = rows.laid_out(at, cells), one_by_one(rows, at, cells)
    assert (found.shape, found.dtype) == ((cells,), rows.dtype)
    assert found.flags.writeable
    written = expected >= 0
    np.testing.assert_array_equal(found[written], expected[written])
    np.testing.assert_array_equal(rows.spanned().laid_out(at, cells)[written], expected[written])


@given(st.data(), st.integers(1, 20), st.integers(0, 30))
def test_blocks_of_any_size_give_the_same(data, block, more):
    values = np.arange(1000, 1064, dtype=np.uint16)
    counts = np.array(data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=12)), np.int64)
    places = np.array([data.draw(st.integers(0, 64 - max(count, block))) for count in counts.tolist()], np.int64)
    at = np.concatenate([[more], more + np.cumsum(counts)[:-1]])
    cells = more + int(counts.sum())
    found = Span.over([values], values.dtype).laid_out(places, counts, at, cells, block)
    expected = [values[place : place + count] for place, count in zip(places, counts, strict=True)]
    assert (found.shape, found.dtype) == ((cells,), np.uint16)
    np.testing.assert_array_equal(found[more:], np.concatenate(expected))


def test_a_rectangle_holds_the_values_from_each_place_on():
    first, second = np.arange(40, dtype=np.uint32), np.arange(100, 140, dtype=np.uint32)
    span = Span.over([second, first], np.dtype(np.uint32))
    homes, starts = np.array([0, 1, 0]), np.array([0, 36, 7])
    found = span.rectangle(span.places(homes, starts), 4)
    np.testing.assert_array_equal(found, np.array([100, 101, 102, 103, 36, 37, 38, 39, 107, 108, 109, 110]))
    assert found.dtype == np.uint32


def test_what_lies_outside_an_array_is_told():
    span = Span.over([np.arange(5), np.arange(3)], np.dtype(np.int64))
    homes, starts, counts = np.array([0, 0, 1, 1, 0]), np.array([0, 3, 0, 0, -1]), np.array([5, 3, 3, 4, 1])
    np.testing.assert_array_equal(span.holds(homes, starts, counts), [True, False, True, False, False])
    alone = Span.over([np.arange(5)], np.dtype(np.int64))
    np.testing.assert_array_equal(alone.holds(None, starts, counts), [True, False, True, True, False])


@pytest.mark.parametrize(
    "arrays",
    [
        [],
        [np.arange(3), np.arange(3, dtype=np.uint16)],
        [np.arange(9)[::2]],
        [np.arange(4), np.frombuffer(bytes(17), np.uint8)[1:].view(np.int64)],
    ],
    ids=["none", "of two dtypes", "with gaps", "not whole values apart"],
)
def test_arrays_without_a_span(arrays):
    if len(arrays) == 2 and arrays[0].dtype == arrays[1].dtype:
        apart = arrays[1].__array_interface__["data"][0] - arrays[0].__array_interface__["data"][0]
        assert apart % 8
    assert Span.over(arrays, np.dtype(np.int64)) is None
