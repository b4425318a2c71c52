"""What a worker sends arrives as it was, in memory of its own."""

import os
import threading

import numpy as np
import pytest
import torch

from fastcollate import InputError
from fastcollate.loader.messages import Failure, Message, receive, send


def through_a_pipe(*items):
    reading, writing = os.pipe()
    sender = threading.Thread(target=send, args=(writing, Message(items)))
    sender.start()
    try:
        return list(receive(lambda parts: os.readv(reading, parts)).items)
    finally:
        sender.join()
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3_000_000),  # more than a pipe holds
        np.arange(12, dtype=np.uint16).reshape(3, 4)[:, 1:3],
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.zeros((0, 3), np.int32),
        np.array(5),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array([None, "a"], object),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_arrays_arrive_as_they_were_and_can_be_written(array):
    (arrived,) = through_a_pipe(array)
    assert arrived.dtype == array.dtype
    assert arrived.flags.writeable
    np.testing.assert_array_equal(arrived, array)


def test_a_frozen_array_arrives_frozen_and_one_that_comes_twice_arrives_once():
    frozen = np.arange(3)
    frozen.flags.writeable = False
    first, second = through_a_pipe(frozen, frozen)
    assert first is second
    assert not first.flags.writeable


def test_an_array_that_is_kept_keeps_no_other():
    large, small = through_a_pipe(np.arange(100_000), np.arange(4))
    base = small
    while getattr(base, "base", None) is not None:
        base = base.base
    assert memoryview(base).nbytes == small.nbytes
    assert len(large) == 100_000


def test_more_arrays_than_one_call_can_read_arrive():
    arrays = [np.full(i % 3, i) for i in range(3000)]
    for arrived, array in zip(through_a_pipe(*arrays), arrays, strict=True):
        np.testing.assert_array_equal(arrived, array)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).reshape(2, 3),
        torch.arange(6).reshape(2, 3).T,
        torch.ones(1).expand(4),
        torch.tensor(3, dtype=torch.int32),
        torch.empty(0, 4),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones(3, requires_grad=True),
        torch.nn.Parameter(torch.ones(2)),
        torch.eye(3).to_sparse(),
    ],
    ids=lambda tensor: f"{type(tensor).__name__}-{tensor.dtype}{list(tensor.shape)}-{tensor.layout}",
)
def test_tensors_arrive_as_they_were_without_shared_memory(tensor):
    (arrived,) = through_a_pipe(tensor)
    assert (type(arrived), arrived.dtype, arrived.layout) == (type(tensor), tensor.dtype, tensor.layout)
    assert arrived.requires_grad == tensor.requires_grad
    assert tensor.is_sparse or not arrived.is_shared()
    torch.testing.assert_close(arrived.to_dense(), tensor.to_dense(), rtol=0, atol=0)


class TwoWordsError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def caught(error):
    with pytest.raises(type(error)) as info:
        raise error
    return Failure.of(info.value)


def test_an_exception_comes_back_with_all_it_holds():
    failure = caught(InputError("no", path="a.jsonl", row=3, reason="empty"))
    error = failure.exception()
    assert type(error) is InputError
    assert (str(error), error.path, error.row, error.reason) == ("no", "a.jsonl", 3, "empty")
    assert failure.trace.startswith("Traceback")
    assert failure.trace.endswith("InputError: no\n")


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (TwoWordsError("not", "now"), "test_messages.TwoWordsError: not now"),
        (ValueError(lambda: 0), "ValueError: <function"),
        (StopIteration(), "StopIteration"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_exception_that_cannot_or_must_not_be_raised_elsewhere_comes_as_text(error, summary):
    failure = caught(error)
    assert failure.exception() is None
    assert failure.summary.startswith(summary)
    assert "in caught" in failure.trace
