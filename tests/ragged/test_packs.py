"""Where documents lie in packs: every array equals what placing one cell after another gives."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate import CollateError
from fastcollate.ragged import Packs


@st.composite
def packs(draw):
    """Documents by pack (some packs are empty), and a width or None."""
    documents = draw(st.lists(st.lists(st.integers(1, 9), max_size=4), min_size=1, max_size=6))
    fullest = max(1, *(sum(lengths) for lengths in documents))
    return documents, draw(st.none() | st.integers(fullest, fullest + 3))


def made(documents, width):
    edges = np.cumsum([0, *map(len, documents)])
    return Packs.of(np.array([n for lengths in documents for n in lengths], np.int64), edges, width)


def slow(documents, width):
    """The fields of `Packs`, and which cells are padding, cell by cell."""
    width = max(1, *(sum(lengths) for lengths in documents)) if width is None else width
    begins, numbers, padding = [], [], []
    for pack, lengths in enumerate(documents):
        cell = pack * width
        for number, length in enumerate(lengths):
            begins.append(cell)
            numbers.append(number)
            cell += length
        padding += range(cell, (pack + 1) * width)
    edges = [sum(map(len, documents[:pack])) for pack in range(len(documents) + 1)]
    return (edges, [sum(lengths) for lengths in documents], begins, numbers, width), padding


def check(found, documents, width):
    (*columns, expected_width), padding = slow(documents, width)
    for array, column in zip(found[:-1], columns, strict=True):
        np.testing.assert_array_equal(array, np.array(column, np.int64), strict=True)
    assert found.width == expected_width
    assert found.cells == len(documents) * expected_width
    assert found.tokens == found.cells - len(padding)
    gaps = found.gaps()
    assert [cell for start, stop, _ in gaps for cell in range(start, stop)] == padding
    earlier = [sum(begin < start for begin in columns[2]) for start, _, _ in gaps]
    assert [before for _, _, before in gaps] == earlier


@given(packs())
def test_documents_lie_end_to_end(drawn):
    check(made(*drawn), *drawn)


@given(packs(), st.data())
def test_a_part_is_what_its_documents_alone_would_be(drawn, data):
    documents, width = drawn
    whole = made(documents, width)
    first = data.draw(st.integers(0, len(documents) - 1))
    last = data.draw(st.integers(first + 1, len(documents)))
    check(whole.part(first, last), documents[first:last], whole.width)


@given(packs(), st.integers(0, 9))
def test_filled_up_with_empty_packs(drawn, count):
    documents, width = drawn
    whole = made(documents, width)
    check(whole.filled(count), documents + [[]] * (count - len(documents)), whole.width)


@given(packs())
def test_extents_cover_all_cells(drawn):
    found = made(*drawn)
    owner = np.arange(len(found.begins)).repeat(found.extents())
    if len(found.begins) == 0:
        assert owner.tolist() == []
        return
    bounds = [0, *found.begins[1:].tolist(), found.cells]  # the first document also has the cells before it
    expected = [number for number, (start, stop) in enumerate(pairwise(bounds)) for _ in range(start, stop)]
    np.testing.assert_array_equal(owner, expected, strict=True)


def test_no_pack_is_wider_than_planned():
    with pytest.raises(CollateError, match="a pack has 5 tokens but the plan fixed 4: pack with PackedDataset"):
        Packs.of(np.array([3, 2]), np.array([0, 2]), 4)
