"""Rows in two flat arrays: what they hold, what they share, and what they refuse."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate import InputError, Ragged, RaggedBatch
from fastcollate.ragged import Rows

DTYPES = [np.uint16, np.uint32, np.int64]
ROWS = st.lists(st.lists(st.integers(0, 65_535), max_size=5), max_size=8)


def same(found, expected):
    """Whole arrays, with dtype."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def lists(rows):
    return [row.tolist() for row in rows]


@given(ROWS, st.sampled_from(DTYPES))
def test_rows_come_back(rows, dtype):
    ragged = Ragged.from_rows(rows, dtype)
    assert len(ragged) == len(rows)
    same(ragged.values, np.array([value for row in rows for value in row], dtype))
    same(ragged.lengths, np.array([len(row) for row in rows], np.int64))
    assert lists(ragged) == rows
    assert [ragged[i].tolist() for i in range(-len(rows), 0)] == rows
    assert ragged.offsets.dtype == np.int64


@given(ROWS.filter(len), st.data())
def test_taking_rows_equals_a_loop(rows, data):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    taken = Ragged.from_rows(rows, np.uint16).take(chosen)
    same(taken.values, np.array([value for i in chosen for value in rows[i]], np.uint16))
    assert lists(taken) == [rows[i] for i in chosen]


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_joining_parts_joins_their_rows(parts):
    joined = Ragged.concat([Ragged.from_rows(part) for part in parts])
    assert joined == Ragged.from_rows([row for part in parts for row in part])


@given(ROWS.filter(len), st.data())
def test_a_slice_of_the_offsets_is_a_view_that_compacts(rows, data):
    whole = Ragged.from_rows(rows)
    first = data.draw(st.integers(0, len(rows)))
    last = data.draw(st.integers(first, len(rows)))
    part = Ragged(whole.values, whole.offsets[first : last + 1])
    assert lists(part) == rows[first:last]
    compact = part.compact()
    assert compact == part == Ragged.from_rows(rows[first:last])
    assert (compact.offsets[0], compact.offsets[-1]) == (0, len(compact.values))
    assert lists(Ragged.concat([part, part])) == rows[first:last] * 2


def test_a_row_is_a_view_and_taken_rows_are_copies():
    ragged = Ragged.from_rows([[1, 2], [3]])
    assert np.shares_memory(ragged[0], ragged.values)
    assert not np.shares_memory(ragged.take([0]).values, ragged.values)
    assert Ragged(ragged.values, ragged.offsets).values is ragged.values


def test_no_rows_are_rows_too():
    nothing = Ragged.from_rows([])
    assert (len(nothing), lists(nothing), repr(nothing)) == (0, [], "Ragged(0 rows, 0 values, int64)")
    same(nothing.lengths, np.empty(0, np.int64))
    assert nothing.take([]) == nothing
    assert lists(Ragged.from_rows([[], [], [1]])) == [[], [], [1]]


def test_equality_is_about_rows_and_dtype():
    ragged = Ragged.from_rows([[1], [2, 3]])
    assert ragged == Ragged(np.array([9, 1, 2, 3, 9]), np.array([1, 2, 4]))
    assert ragged != Ragged.from_rows([[1, 2], [3]])
    assert ragged != Ragged.from_rows([[1], [2, 3]], np.uint16)
    assert ragged != "rows"
    with pytest.raises(TypeError, match="unhashable"):
        hash(ragged)


def test_a_row_outside_is_an_index_error():
    ragged = Ragged.from_rows([[1]])
    for outside in (1, -2):
        with pytest.raises(IndexError):
            ragged[outside]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.zeros(2, np.float32), "float32 with 1 dimension"),
        (np.zeros(2, np.int32), "int32 with 1 dimension"),
        (np.zeros((2, 2), np.int64), r"int64 with 2 dimension\(s\)"),
        (np.array(["a", None], object), "object with 1 dimension"),
        (np.array([True]), "bool with 1 dimension"),
    ],
)
def test_values_are_flat_integers(values, shown):
    with pytest.raises(InputError, match=rf"Ragged values are {shown}.*convert them with .astype"):
        Ragged(values, [0, 1])


@pytest.mark.parametrize("offsets", [[], [[0, 1]], [0.0, 1.0], ["a"]])
def test_offsets_are_positions(offsets):
    with pytest.raises(InputError, match=r"offsets must be a one-dimensional int64 array of N \+ 1"):
        Ragged(np.arange(3), offsets)


@pytest.mark.parametrize("offsets", [[0, 2, 1], [-1, 2], [0, 4], [4, 4]])
def test_offsets_rise_inside_their_values(offsets):
    with pytest.raises(InputError, match=r"leave their values: they must rise from 0 to at most 3"):
        Ragged(np.arange(3), offsets)


@pytest.mark.parametrize("row", [["a"], [1.5], [[1, 2]], 3, [True]])
def test_a_row_that_is_no_list_of_integers_is_named(row):
    with pytest.raises(InputError, match=r"row 1 is .*: rows are flat integers"):
        Ragged.from_rows([[1], row])


@pytest.mark.parametrize(("value", "dtype"), [(65_536, np.uint16), (-1, np.uint32), (2**32, np.uint32)])
def test_a_value_that_does_not_fit_is_not_wrapped(value, dtype):
    with pytest.raises(InputError, match="row 1"):
        Ragged.from_rows([[1], [2, value]], dtype)


def test_parts_of_different_dtypes_do_not_join():
    with pytest.raises(InputError, match="needs parts of one dtype; convert them first"):
        Ragged.concat([Ragged.from_rows([[1]]), Ragged.from_rows([[1]], np.uint16)])
    with pytest.raises(InputError, match="needs at least one part"):
        Ragged.concat([])


@given(ROWS.filter(len), st.data())
def test_scattered_rows_come_side_by_side(rows, data):
    ragged = Ragged.from_rows(rows, np.uint16)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)), np.int64)
    scattered = Rows(ragged.values, ragged.offsets[:-1][chosen], ragged.lengths[chosen])
    assert lists(scattered) == [rows[i] for i in chosen]
    assert scattered.to_ragged() == ragged.take(chosen)
    back = pickle.loads(pickle.dumps(scattered))
    assert lists(back) == lists(scattered)
    assert back.values.dtype == np.uint16
    assert lists(Rows.of(ragged)) == rows


def test_a_batch_made_by_hand_counts_its_rows():
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3], [4]]), width=8)
    same(batch.record_ids, np.arange(2))
    assert (batch.spans, batch.width, lists(batch)) == (None, 8, [[1, 2, 3], [4]])
    assert repr(batch) == "RaggedBatch(2 rows, 4 tokens, width=8)"
    named = RaggedBatch.from_ragged(Ragged.from_rows([[1]]), record_ids=[7], spans=Ragged.from_rows([[0, 1]]))
    same(named.record_ids, np.array([7]))
    assert lists(named.spans) == [[0, 1]]


@pytest.mark.parametrize("wrong", [{"record_ids": [1]}, {"spans": Ragged.from_rows([[0, 1]])}])
def test_a_batch_needs_an_entry_for_each_row(wrong):
    with pytest.raises(InputError, match=r"has 1 rows where there are 2: it needs one for each row"):
        RaggedBatch.from_ragged(Ragged.from_rows([[1], [2]]), **wrong)


def test_a_batch_travels_without_the_shard_it_lies_in():
    shard = Ragged(np.arange(100_000, dtype=np.uint16), np.arange(0, 100_001, 10))
    spans = Ragged.from_rows([[0, 1]] * len(shard), np.uint32)
    batch = RaggedBatch(
        Rows(shard.values, np.array([500, 0, 20, 0]), np.array([3, 1, 2, 0])),
        record_ids=np.array([50, 0, 2, -1]),
        columns={"spans": Rows.of(Ragged(spans.values, spans.offsets[:5]))},
        width=4,
    )
    sent = pickle.dumps(batch)
    assert len(sent) < 2000
    back = pickle.loads(sent)
    assert lists(back) == lists(batch) == [[500, 501, 502], [0], [20, 21], []]
    same(back.record_ids, batch.record_ids)
    assert (lists(back.spans), back.width) == ([[0, 1]] * 4, 4)


def test_nothing_in_a_batch_changes_once_it_is_made():
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3], [4]]), width=8)
    with pytest.raises(FrozenInstanceError):
        batch.width = 9
    with pytest.raises(FrozenInstanceError):
        batch.tokens.lengths = np.array([1, 1])


def test_rows_are_filled_up_cut_and_clipped_with_their_columns():
    labels = Ragged.from_rows([[7, 8, 9], [6]])
    spans = Ragged.from_rows([[1, 3], [0, 1]])
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3], [4]]), spans=spans, columns={"labels": labels})
    filled = batch.filled(3)
    same(filled.record_ids, np.array([0, 1, -1]))
    assert (lists(filled), lists(filled.spans)) == ([[1, 2, 3], [4], []], [[1, 3], [0, 1], []])
    pieces = batch.cut(np.array([1, 0]), np.array([2, 1]), {"labels"})
    same(pieces.cuts, np.array([1, 0]))
    assert (lists(pieces), lists(pieces.columns["labels"])) == ([[2, 3], [4]], [[8, 9], [6]])
    assert lists(pieces.spans) == [[1, 3], [0, 1]]  # of the whole records
    clipped = batch.clipped(2, {"labels"})
    assert (lists(clipped), lists(clipped.columns["labels"]), clipped.cuts) == ([[1, 2], [4]], [[7, 8], [6]], None)
    assert batch.clipped(3) is batch
