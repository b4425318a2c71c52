"""Landmarks: a window is counted once, from the nearest one that is known."""

import pickle

import numpy as np
import pytest
from plans import Known, fields, global_batches

from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.sorting import default_block, shuffle_records
from fastcollate.plan.state import Landmark, Landmarks

START = Landmark()
SIZES = [3, 0, 2, 5, 1]  # batches of each window


@pytest.fixture
def counted():
    """(landmarks, the windows that were counted so far)."""
    windows = []

    def next_after(here):
        windows.append(here.window)
        return Landmark(here.window + 1, here.batch + SIZES[here.window])

    return lambda known=START: (Landmarks(5, known=known, next_after=next_after), windows)


def test_each_window_is_counted_once(counted):
    landmarks, windows = counted()
    begins = [landmarks.of(window).batch for window in range(6)]
    assert begins == [0, 3, 3, 5, 10, 11]
    assert [landmarks.of(window).batch for window in (5, 2, 0)] == [11, 3, 0]
    assert windows == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("known", [START, Landmark(3, 5)])
def test_the_last_landmark_before_a_batch_is_found(counted, known):
    landmarks, _ = counted(known)
    found = [landmarks.before(batch).window for batch in range(13)]
    assert found == [0, 0, 0, 0, 2, 2, 3, 3, 3, 3, 3, 4, 5]


def test_counting_begins_at_the_nearest_known_landmark(counted):
    landmarks, windows = counted(Landmark(3, 5))
    assert landmarks.before(9) == Landmark(3, 5)
    assert landmarks.of(4) == Landmark(4, 10)
    assert windows == [3]
    assert [window in landmarks for window in range(6)] == [True, False, False, True, True, False]
    assert landmarks.before(4) == Landmark(2, 3)
    assert windows == [3, 0, 1]  # and no further: the next one is known


def test_the_first_landmark_added_stays(counted):
    landmarks, _ = counted()
    assert landmarks.add(Landmark(1, 3, 40)) == Landmark(1, 3, 40)
    assert landmarks.add(Landmark(1, 3)) == Landmark(1, 3, 40)


def test_a_plan_that_has_counted_goes_to_another_process():
    plan = TokenBuckets(**fields(Known(np.arange(1, 31)), max_tokens=60, window=10))
    batches = plan.num_batches
    copy = pickle.loads(pickle.dumps(plan))
    assert copy.num_batches == batches == len(global_batches(copy))


@pytest.mark.parametrize(("size", "block"), [(64, 8), (67, 8), (5, 8), (9, 8), (1000, 7)])
def test_blocks_begin_at_multiples_of_their_size_in_every_epoch(size, block):
    for epoch in range(4):
        order = shuffle_records(np.arange(size), size, block, seed=1, epoch=epoch)
        assert sorted(order.tolist()) == list(range(size))
        firsts = [0, *(np.flatnonzero(np.diff(order) != 1) + 1).tolist()]
        assert all(order[first] % block == 0 for first in firsts)


def test_the_short_block_has_another_place_in_every_epoch():
    orders = [shuffle_records(np.arange(67), 67, 8, seed=0, epoch=epoch) for epoch in range(8)]
    assert len({int(np.flatnonzero(order == 64)[0]) for order in orders}) > 3


@pytest.mark.parametrize(
    ("token_bytes", "records", "block"),
    [
        (8 << 30, 10**7, 1),
        ((8 << 30) + 1, 10**7, 256),  # of 859 bytes each: 305.2 make 256 KiB
        (1 << 40, 1 << 31, 512),
        (1 << 40, 1 << 20, 1),  # of 1 MiB each
        (3 << 38, 1 << 30, 256),  # 341.3 of 768 bytes: 256 make 192 KiB, and 512 make 384
        (0, 0, 1),
    ],
)
def test_by_default_a_block_is_one_record_of_a_small_corpus_and_256_kib_of_others(token_bytes, records, block):
    assert default_block(token_bytes, records) == block
