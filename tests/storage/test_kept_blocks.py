"""Blocks in memory: each is fetched once by however many threads, within the limit, and after failures again."""

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastcollate import StorageError
from fastcollate.storage.network.block_cache import BLOCK_BYTES, Blocks
from fastcollate.storage.network.kept_blocks import KeptBlocks, kept_blocks

WHOLE = np.random.default_rng(0).integers(0, 256, 20 * BLOCK_BYTES + 100, dtype=np.uint8).data
COUNT = 21


class Far:
    """Bytes that are far away: how often each block was fetched."""

    def __init__(self, seconds=0.0):
        self.seconds, self.fetched, self.lock, self.fails = seconds, [0] * COUNT, threading.Lock(), 0

    def fetch_from(self, base):
        def fetch(first, stop):
            time.sleep(self.seconds)
            with self.lock:
                if self.fails:
                    self.fails -= 1
                    raise StorageError("the server is away")
                for number in range(base + first, base + stop):
                    self.fetched[number] += 1
            return WHOLE[(base + first) * BLOCK_BYTES : (base + stop) * BLOCK_BYTES]

        return fetch

    def read(self, kept, first, stop):
        """The blocks from `first` to `stop`, which must be right."""
        right = WHOLE[first * BLOCK_BYTES : stop * BLOCK_BYTES]
        out = memoryview(bytearray(len(right)))
        kept.read(Blocks("content", first, [0] * (stop - first)), out, self.fetch_from(first))
        assert out == right


def test_what_is_there_is_not_fetched_again():
    far, kept = Far(), KeptBlocks(1 << 30)
    far.read(kept, 3, 6)
    far.read(kept, 2, 7)
    far.read(kept, 18, COUNT)
    far.read(kept, 20, COUNT)
    assert far.fetched == [0, 0, 1, 1, 1, 1, 1, *[0] * 11, 1, 1, 1]


def test_other_content_is_other_blocks():
    far, kept = Far(), KeptBlocks(1 << 30)
    far.read(kept, 0, 2)
    out = memoryview(bytearray(BLOCK_BYTES))
    kept.read(Blocks("another", 0, [0]), out, lambda *_: memoryview(bytes([7]) * BLOCK_BYTES))
    assert out == bytes([7]) * BLOCK_BYTES
    far.read(kept, 0, 2)


def test_threads_share_what_one_of_them_fetches():
    far, kept = Far(seconds=0.02), KeptBlocks(1 << 30)
    bounds = [(0, 8), (4, 12), (0, COUNT), (7, 9), (2, 20), (11, COUNT)]
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(far.read, kept, *each) for each in bounds]:
            done.result(timeout=20)
    assert far.fetched == [1] * COUNT


def test_more_than_the_limit_is_not_kept():
    far, kept = Far(), KeptBlocks(4 * BLOCK_BYTES)
    far.read(kept, 0, 3)
    far.read(kept, 0, 1)  # which stays longest then
    far.read(kept, 8, 10)
    assert kept._held == sum(map(len, kept._kept.values())) == 4 * BLOCK_BYTES
    far.read(kept, 0, 1)
    far.read(kept, 1, 2)
    assert (far.fetched[0], far.fetched[1], far.fetched[8]) == (1, 2, 1)
    far.read(kept, 0, COUNT)
    assert kept._held <= 4 * BLOCK_BYTES


def test_who_waits_for_a_fetch_that_fails_fetches_for_itself():
    far, kept = Far(seconds=0.1), KeptBlocks(1 << 30)
    far.fails = 1
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(far.read, kept, 0, 5) for _ in range(3)]
        failed = [each.exception(timeout=20) for each in done]
    assert sorted(type(error).__name__ for error in failed) == ["NoneType", "NoneType", "StorageError"]
    assert far.fetched[:5] == [1] * 5
    assert not kept._coming
    far.fails = 1
    with pytest.raises(StorageError, match="the server is away"):
        far.read(kept, 10, 12)
    far.read(kept, 10, 12)


def test_a_fork_keeps_nothing_and_waits_for_nobody():
    far, kept = Far(), KeptBlocks(1 << 30)
    far.read(kept, 0, 4)
    with kept._changed:  # as a thread may at that moment, which the fork does not have
        process = multiprocessing.get_context("fork").Process(target=far.read, args=(kept, 0, 4))
        process.start()
    process.join(20)
    assert process.exitcode == 0


def test_stores_of_a_process_share_one():
    assert kept_blocks() is kept_blocks()
