"""Rows of mapped files are copied into memory of their own, whatever lies how near to what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.corpus import paged_in as module
from fastcollate.corpus.paged_in import paged_in
from fastcollate.ragged import Scattered
from fastcollate.storage.local import map_file
from fastcollate.storage.read_counts import ReadCounts

VALUES = 50_000  # of two bytes each: 25 pages


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two mapped files of uint16."""
    found = []
    for number in range(2):
        path = tmp_path_factory.mktemp("files") / "values"
        path.write_bytes((np.arange(VALUES, dtype=np.uint16) * 7 + number).tobytes())
        found.append(map_file(path).data.view(np.uint16))
    return found


ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, VALUES - 5000), st.integers(0, 5000)), max_size=12)


@given(ROWS)
def test_the_rows_are_the_same_and_lie_elsewhere(files, rows):
    homes, starts, lengths = np.array(rows, np.int64).reshape(-1, 3).T
    there = Scattered(files, np.dtype(np.uint16), homes, starts, lengths)
    counts = ReadCounts()
    here = paged_in(there, counts)
    np.testing.assert_array_equal(here.joined().values, there.joined().values, strict=True)
    assert not np.shares_memory(here.buffers[0], files[0])
    assert counts.bytes_used == 2 * int(lengths.sum())


def test_many_pages_come_in_chunks(files, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_CHUNK", 3 * module.PAGE)
    monkeypatch.setattr(module, "ask_for", lambda begins, ends: asked.append(ends - begins))
    starts = np.arange(0, VALUES, 10_000)
    rows = Scattered([files[0]], np.dtype(np.uint16), None, starts, np.full(len(starts), 7))
    here = paged_in(rows, ReadCounts())
    np.testing.assert_array_equal(here.joined().values, rows.joined().values)
    assert len(asked) > 1
    assert all(sizes.sum() <= 3 * module.PAGE for sizes in asked)


def test_values_of_two_dtypes_become_those_of_the_wider_one(files):
    buffers = [files[0], np.arange(9, dtype=np.uint32) + 70_000]
    rows = Scattered(buffers, np.dtype(np.uint32), np.array([1, 0]), np.array([2, 5]), np.array([3, 2]))
    assert paged_in(rows, ReadCounts()).joined().values.tolist() == [70_002, 70_003, 70_004, 35, 42]


def test_a_system_that_cannot_be_asked_is_not(files, monkeypatch):
    monkeypatch.setattr("fastcollate.storage.asked_pages._libc", lambda: None)
    rows = Scattered([files[0]], np.dtype(np.uint16), None, np.array([3]), np.array([2]))
    assert paged_in(rows, ReadCounts()).joined().values.tolist() == [21, 28]


@pytest.mark.parametrize("refuses", ["pidfd_open", None])
def test_a_system_that_lets_nobody_ask_for_many_is_asked_one_by_one(files, monkeypatch, refuses):
    if refuses:

        def refused(process):
            raise PermissionError

        monkeypatch.setattr("os.pidfd_open", refused, raising=False)
    rows = Scattered([files[0]], np.dtype(np.uint16), None, np.array([3]), np.array([2]))
    assert paged_in(rows, ReadCounts()).joined().values.tolist() == [21, 28]
