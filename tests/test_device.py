"""Prefetching: order, exceptions and early ends."""

import threading
import time

import pytest
import torch

from fastcollate import InputError, prefetch_to_device
from fastcollate.device.prefetch import Prefetcher


def is_prefetching():
    return any(thread.name == "fastcollate-prefetch" for thread in threading.enumerate())


def test_any_iterable_of_tensors_dicts_and_tuples_comes_back_in_order():
    items = [{"x": torch.tensor([i]), "names": ["a", i]} for i in range(100)]
    assert list(prefetch_to_device(items, "cpu")) == items
    pairs = [(torch.tensor([i]), i) for i in range(5)]
    assert list(prefetch_to_device(pairs, "cpu")) == pairs
    moved = list(prefetch_to_device([(torch.zeros(2), [torch.ones(1)])], "meta"))
    assert moved[0][0].device.type == moved[0][1][0].device.type == "meta"


def test_items_before_an_exception_are_delivered():
    def source():
        yield from range(10)
        raise KeyError("boom")

    found = []
    with pytest.raises(KeyError, match="boom"):
        found.extend(Prefetcher(source(), depth=2, size=lambda _: 1))
    assert found == list(range(10))


def test_it_runs_ahead_by_its_depth_and_no_further():
    made = []

    def source():
        for i in range(100):
            made.append(i)
            yield i

    with Prefetcher(source(), depth=3, size=lambda _: 1 << 20) as ahead:
        assert next(ahead) == 0
        time.sleep(0.2)
        assert len(made) == 5  # one taken, three waiting, one in hand
    assert not is_prefetching()


def test_dropping_it_half_way_ends_its_thread_and_its_source():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    ahead = Prefetcher(source(), depth=2, size=lambda _: 1)
    assert next(ahead) == 1
    del ahead
    assert closed.wait(timeout=5)


def test_leaving_a_loop_over_prefetched_batches_ends_the_thread():
    for item in prefetch_to_device(iter(range(10**9)), "cpu"):
        if item == 3:
            break
    deadline = time.monotonic() + 5
    while is_prefetching() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_prefetching()


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="prefetch is 0: it must be at least 1"):
        prefetch_to_device([], "cpu", prefetch=0)
    with pytest.raises(InputError, match="device 'abacus' is unknown"):
        prefetch_to_device([], "abacus")
    with pytest.raises(InputError, match=r"device 3\.5 is unknown"):
        prefetch_to_device([], 3.5)
    if not torch.backends.mps.is_available():
        with pytest.raises(InputError, match="device 'mps' is not here"):
            prefetch_to_device([], "mps")
