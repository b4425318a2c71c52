"""What workers make comes in turn, and so do their errors; they draw from generators of their own."""

import os
import random
import time
from functools import partial
from itertools import zip_longest
from pickle import PicklingError

import numpy as np
import pytest
import torch
from pools import LARGE, METHODS, pool_of

from fastcollate import InputError, StoreChangedError, WorkerError

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def counted(worker, workers, *, lengths):
    yield from ((worker, i) for i in range(lengths[worker]))


@pytest.mark.parametrize("parcel", [1, 2, 3, 16])
@pytest.mark.parametrize("lengths", [[7, 7, 7], [3, 2, 2], [5, 0, 9, 4], [0, 0], [4]], ids=str)
def test_items_come_in_turn_from_the_workers_that_have_not_ended(lengths, parcel):
    rounds = zip_longest(*([(worker, i) for i in range(count)] for worker, count in enumerate(lengths)))
    expected = [item for items in rounds for item in items if item is not None]
    with pool_of(partial(counted, lengths=lengths), workers=len(lengths), parcel=parcel) as pool:
        assert list(pool) == expected
        assert list(pool) == []


def noting(worker, workers, *, noted):
    noted[worker] = os.getpid()
    yield torch.full((1000,), worker), np.full(LARGE, worker, np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_any_start_method_gives_the_items_and_shares_the_tensors_of_the_work(method):
    noted = torch.zeros(2, dtype=torch.int64).share_memory_()
    with pool_of(partial(noting, noted=noted), method=method) as pool:
        for worker, (tensor, array) in enumerate(pool):
            assert torch.equal(tensor, torch.full((1000,), worker))
            np.testing.assert_array_equal(array, np.full(LARGE, worker, np.uint8))
    assert len({os.getpid(), *noted.tolist()}) == 3


def raising(worker, workers, *, error, before=3):
    yield from range(before)
    if worker == 1:
        raise error


@pytest.mark.parametrize("parcel", [1, 2, 8])
@pytest.mark.parametrize(
    "error", [InputError("a", path="b", row=3, reason="c"), ValueError("a", 5), KeyError("a")], ids=repr
)
def test_an_exception_comes_as_it_was_after_the_items_before_it(error, parcel):
    items = []
    with pool_of(partial(raising, error=error), parcel=parcel) as pool:
        with pytest.raises(type(error)) as caught:
            items.extend(pool)
        assert list(pool) == []
    assert items == [0, 0, 1, 1, 2, 2]
    assert caught.value.args == error.args
    assert vars(caught.value).items() >= vars(error).items()
    (note,) = caught.value.__notes__
    assert note.startswith("In worker 1 of 2 (pid ")
    assert "in raising\n    raise error\n" in note


@pytest.mark.parametrize(
    "error", [ValueError(lambda: 0), StopIteration("a"), SystemExit(3)], ids=lambda error: type(error).__name__
)
def test_an_exception_that_cannot_come_is_told(error):
    def work(worker, workers):
        raise error

    told = rf"worker 0 of 2 \(pid \d+\) raised {type(error).__name__}.*: it cannot be raised in another process"
    with pool_of(work) as pool, pytest.raises(WorkerError, match=told) as caught:
        next(pool)
    assert "in work\n    raise error\n" in caught.value.__notes__[0]


def test_an_item_that_cannot_be_pickled_is_an_error_of_the_worker():
    def work(worker, workers):
        yield 1
        yield 2
        yield lambda: 0

    with pool_of(work, parcel=2) as pool:
        assert [next(pool) for _ in range(4)] == [1, 1, 2, 2]
        with pytest.raises((AttributeError, PicklingError), match="pickle") as caught:
            next(pool)
    assert "In worker 0 of 2" in caught.value.__notes__[0]


class Reopened:
    """Work that cannot be unpickled, as a store that was changed."""

    def __reduce__(self):
        return refuse, ("the store was changed",)


def refuse(message):
    raise StoreChangedError(message)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_error_in_unpickling_the_work_comes_as_it_was(method, capfd):
    with pool_of(Reopened(), workers=1, method=method) as pool, pytest.raises(StoreChangedError) as caught:
        next(pool)
    assert str(caught.value) == "the store was changed"
    assert "in refuse" in caught.value.__notes__[0]
    assert capfd.readouterr() == ("", "")


def test_work_that_cannot_be_pickled_is_refused():
    with (
        pytest.raises(WorkerError, match=r"cannot be given their work: .* it must be picklable: define functions"),
        pool_of(lambda worker, workers: [], method="spawn"),
    ):
        pass


def counting(worker, workers, *, made, size):
    for i in range(100):
        made[worker] = i + 1
        yield np.zeros(size, np.uint8)


def test_a_worker_is_no_further_ahead_than_its_pipe_holds():
    made = torch.zeros(2, dtype=torch.int64).share_memory_()
    with pool_of(partial(counting, made=made, size=LARGE // 4), parcel=4) as pool:
        next(pool)
        time.sleep(0.5)
        assert made.tolist() in ([8, 4], [8, 8])


def drawing(worker, workers):
    yield random.random(), np.random.rand(), torch.rand(()).item(), torch.get_num_threads()  # noqa: NPY002


def test_the_generators_here_are_left_alone_and_those_of_workers_follow_the_seed():
    def states():
        return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    def draws(seed):
        with pool_of(drawing, seed=seed) as pool:
            return list(pool)

    before = states()
    first, second, other = draws(5), draws(5), draws(6)
    assert states() == before
    assert first == second
    for a, b in [(first[0], first[1]), (first[0], other[0]), (first[1], other[1])]:
        assert all(x != y for x, y in zip(a[:3], b[:3], strict=True))
    assert {row[3] for row in first + other} == {1}
