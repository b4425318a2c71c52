"""Memory of large arrays is used again, and never while anybody can see it."""

import os
import threading

import numpy as np
import pytest
import torch

from fastcollate.ragged import new_array
from fastcollate.ragged.memory import _KEPT, _MOST

LARGE = 1 << 17


def place_of(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, "float32"])
def test_arrays_are_as_asked_for(dtype):
    for shape in ((3,), (2, LARGE), (0,), (LARGE, 1), (0, LARGE)):
        array = new_array(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert place_of(array) % array.itemsize == 0


def test_an_array_that_was_let_go_is_the_next_ones_memory():
    array = new_array((LARGE,), np.int64)
    place = place_of(array)
    del array
    assert place_of(new_array((LARGE - 5,), np.int64)) == place


def test_no_array_shares_memory_with_what_can_be_seen():
    held, drawn = [], np.random.default_rng(0)
    for number in range(300):
        array = new_array((int(drawn.integers(LARGE // 8, LARGE)),), np.int64)
        array.fill(number)
        held.append((number, torch.from_numpy(array)[3:].view(-1, 1) if number % 2 else array[1::2].T))
        del array
        if number % 3:
            del held[int(drawn.integers(len(held)))]
        assert all(bool((view == of).all()) for of, view in held[-5:])
    assert all(bool((view == of).all()) for of, view in held)


def test_threads_get_arrays_of_their_own():
    wrong = []

    def use(number):
        for _ in range(200):
            array = new_array((LARGE,), np.int64)
            array.fill(number)
            if array.min() != number or array.max() != number:
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("sizes", [[LARGE], [LARGE, 2 * LARGE, 3 * LARGE]], ids=["of one size", "of others"])
def test_no_more_memory_is_kept_than_said(sizes):
    arrays = [new_array((_MOST // 8,), np.uint8) for _ in range(60)]
    del arrays
    assert kept() <= 2 * _MOST  # what came back since an array was asked for may be as much again
    for size in sizes:
        new_array((size * 7,), np.uint8)
    assert kept() <= _MOST + 32 * LARGE


def kept():
    return sum(map(len, [*_KEPT._free, *_KEPT._returned]))


def test_a_process_that_is_forked_while_memory_is_sought_seeks_on():
    with _KEPT._lock:
        child = os.fork()
        if child == 0:
            places = {place_of(new_array((LARGE,), np.int64)) for _ in range(20)}
            os._exit(len(places))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) <= 2
