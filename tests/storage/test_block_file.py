"""A file read in blocks gives the bytes of the file, holds few of them, and asks for much at a time."""

import os
from concurrent.futures import Future
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.storage.network.block_file import BlockFile
from fastcollate.storage.network.coalescing import cut_out, merged

DATA = np.random.default_rng(1).bytes(2_500_000)
PLACES = st.integers(0, len(DATA) + 10)


def opened(data=DATA):
    asked = []

    def fetch(start, stop):
        asked.append((start, stop))
        block = Future()
        block.set_result(memoryview(data[start:stop]))
        return block

    return BlockFile(len(data), fetch, Future.result), asked


@given(st.lists(st.tuples(st.booleans(), PLACES, st.integers(0, 900_000)), max_size=12))
def test_it_is_read_as_a_file_in_memory_is(steps):
    (file, asked), oracle = opened(), BytesIO(DATA)
    for jump, start, size in steps:
        if jump:
            assert file.seek(start) == oracle.seek(start)
        assert file.read(size) == oracle.read(size)
        assert file.tell() == oracle.tell()
    assert all(0 <= start < stop <= len(DATA) for start, stop in asked)


def test_reading_in_order_asks_for_each_byte_once_in_growing_blocks():
    data = bytes(60 << 20)
    file, asked = opened(data)
    while file.read(100_000):
        pass
    assert [start for start, _ in asked] == [0, *(stop for _, stop in asked[:-1])]
    assert asked[-1][1] == len(data)
    sizes = [stop - start for start, stop in asked]
    assert sizes[:6] == [1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 23]
    assert max(sizes) == 1 << 23


def test_a_look_at_the_end_asks_for_little():
    file, asked = opened()
    file.seek(-8, os.SEEK_END)
    assert file.read(8) == DATA[-8:]
    assert asked == [(len(DATA) - 8, len(DATA))]


def test_what_is_read_ahead_is_bounded():
    data = bytes(200 << 20)
    file, asked = opened(data)
    while file.read(1 << 16):
        assert asked[-1][1] - file.tell() <= 3 << 23


def test_a_large_read_does_not_ask_for_all_at_once():
    data = bytes(100 << 20)
    file, asked = opened(data)
    assert len(file.read(90 << 20)) == 1 << 25
    assert asked[-1][1] <= 3 << 25 >> 1
    assert len(file.read()) == len(data) - (1 << 25)
    assert file.read() == b""


def test_a_failed_block_is_asked_for_again():
    failures = [OSError("once")]

    def wait(block):
        if failures:
            raise failures.pop()
        return block.result()

    file, _ = opened()
    file._wait = wait
    with pytest.raises(OSError, match="once"):
        file.read(10)
    assert file.read(10) == DATA[:10]


RANGES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda r: (r[0], r[0] + r[1])), max_size=9
)


@given(RANGES, st.integers(0, 40), st.integers(1, 70))
def test_merged_ranges_hold_all_that_was_asked_for(ranges, gap, most):
    blocks = {(a, b): memoryview(DATA)[a:b] for a, b in merged(ranges, gap=gap, most=most)}
    assert [bytes(cut_out(each, blocks)) for each in ranges] == [DATA[a:b] for a, b in ranges]
    edges = [edge for block in blocks for edge in block]
    assert edges == sorted(edges)
    assert all(b - a <= most for a, b in blocks)
