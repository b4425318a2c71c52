"""Prefetching: order, exceptions and early ends."""

import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict, UserDict
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType

import pytest
import torch

from fastcollate import BucketedDataset, InputError, PaddingCollator, StreamLoader, prefetch_to_device
from fastcollate.device.items import count_bytes
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


@dataclass(frozen=True)
class Example:
    x: torch.Tensor
    name: str


class Odd:
    def to(self, device):
        return self


def test_tokenizers_mappings_and_dataclasses_are_moved_and_what_is_unknown_is_named():
    held = UserDict({"x": torch.zeros(2)})
    items = [held, OrderedDict(x=torch.zeros(2)), MappingProxyType({"x": torch.zeros(2)})]
    moved = list(prefetch_to_device(items, "meta"))
    assert [type(item) for item in moved] == [UserDict, OrderedDict, dict]
    assert {item["x"].device.type for item in moved} == {"meta"}
    assert held["x"].device.type == "cpu"
    (example,) = prefetch_to_device([Example(torch.zeros(2), "a")], "meta")
    assert (type(example), example.x.device.type, example.name) == (Example, "meta", "a")
    assert count_bytes([example, {"y": (torch.zeros(3, dtype=torch.int16), "b")}, 7]) == 2 * 4 + 3 * 2
    with pytest.raises(InputError, match=r"a torch.sparse_coo tensor in a batch: only dense ones can be copied"):
        list(prefetch_to_device([torch.eye(2).to_sparse()], "meta"))
    for odd in (Odd(), torch.nn.utils.rnn.pack_sequence([torch.zeros(2)])):
        with pytest.raises(InputError, match=rf"a {type(odd).__name__} in a batch: dicts, lists, tuples and data"):
            list(prefetch_to_device([{"x": odd}], "meta"))


ANOTHERS = """
import torch
from fastcollate import prefetch_to_device
def batches():
    while True:
        yield torch.randn(500, 500) @ torch.randn(500, 500)
iterator = prefetch_to_device(batches(), "cpu", prefetch=4)
next(iterator)
"""
OURS = """
import sys
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader, TokenStore
dataset = BucketedDataset(TokenStore(sys.argv[1]), batch_size=2)
iterator = iter(StreamLoader(dataset, PaddingCollator(256), device="meta", prefetch=4, transfer="ragged"))
next(iterator)
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [ANOTHERS, OURS], ids=["prefetch_to_device", "StreamLoader"])
def test_a_script_that_ends_while_batches_are_made_ends_well(store, code):
    command = [sys.executable, "-c", f"{code}\nimport time; print(time.time())", str(store.path)]
    for _ in range(2):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        late = time.time() - float(ended.stdout)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert late < 5  # a second for the thread, and what it takes to unload torch


def test_closing_half_way_takes_less_than_a_second_and_keeps_nothing(store):
    loader = StreamLoader(BucketedDataset(store, batch_size=2), PaddingCollator(256), device="meta", prefetch=4)
    next(iter(loader))
    begun = time.perf_counter()
    loader.close()
    assert time.perf_counter() - begun < 1
    assert not is_prefetching()


def test_what_waits_is_let_go_at_the_close():
    made = []

    def source():
        for _ in range(100):
            tensor = torch.zeros(1 << 18)
            made.append(weakref.ref(tensor))
            yield tensor

    ahead = Prefetcher(source(), depth=3, size=count_bytes)
    next(ahead)
    while len(made) < 5:
        time.sleep(0.01)
    ahead.close()
    assert [tensor() for tensor in made] == [None] * len(made)
    with pytest.raises(StopIteration):
        next(ahead)


def test_another_default_device_changes_nothing(store):
    torch.set_default_device("meta")
    try:
        loader = StreamLoader(BucketedDataset(store, batch_size=50), PaddingCollator(256))
        assert {batch["labels"].device.type for batch in loader} == {"cpu"}
        moved = StreamLoader(BucketedDataset(store, batch_size=50), PaddingCollator(256), device="meta")
        assert len(list(moved)) == 21
    finally:
        torch.set_default_device(None)


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

    with closing(Prefetcher(source(), depth=3, size=lambda _: 1 << 21)) as ahead:
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
