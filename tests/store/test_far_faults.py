"""What networks, servers and replaced objects do to reading tokens: the right ones come, or an error in time."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from far_stores import Far, keep_in_memory
from object_server import BUSY, DENIED
from stores import lognormal_lengths, write_store

from fastcollate import StorageError, StoreChangedError, StoreCorruptError
from fastcollate.storage.storage import open_storage

TIMES = int(os.environ.get("FASTCOLLATE_FAULTS", "60"))  # 10,000 for all that is promised
COUNT = 300


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCOLLATE_CACHE_DIR", str(tmp_path / "users"))
    keep_in_memory(monkeypatch, 1)  # byte: none, so that tokens come each time


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    lengths = lognormal_lengths(COUNT, mean=5.5, high=900)
    return write_store(tmp_path_factory.mktemp("near") / "store", lengths, records_per_shard=150)


@pytest.fixture
def far(near, bucket, options, tmp_path):
    far = Far(near, f"{bucket}/store", options, tmp_path / "cache")
    far.open().lengths.sum()
    return far


def tokens(near):
    return [shard.files[0].name for shard in near.manifest.shards]


def is_of_tokens(request):
    return b"shard-" in request.split(b"\r\n")[0] and b"range:" in request.lower()


def flip(number):
    """Change one byte of a body on its way."""

    def send(connection, answer):
        head, size = answer.index(b"\r\n\r\n") + 4, len(answer)
        changed = bytearray(answer)
        changed[head + number * 7919 % (size - head)] ^= 1 << number % 8
        connection.sendall(changed)

    return send


def test_no_wrong_byte_is_ever_delivered(near, far, before):
    """Every other answer is wrong: it is asked for again, whatever bit it is, and whatever else goes wrong."""
    kinds = [None, "flip", None, "cut", None, "busy", "flip", "lose", None]
    asked = []

    def fault(_, request):
        if not is_of_tokens(request):
            return None
        asked.append(request)
        kind = kinds[len(asked) % len(kinds)]
        known = {None: None, "flip": flip(len(asked)), "busy": BUSY}
        return known[kind] if kind in known else getattr(proxy, kind)

    proxy = before(fault)
    store = far.open(options={"endpoint_url": proxy.address, "timeout": 20})
    drawn = np.random.default_rng(0)
    while len(asked) < TIMES:
        indices = drawn.integers(0, COUNT, 3)
        assert store.take(indices) == near.take(indices)


def test_what_is_always_wrong_is_told_with_object_and_range(near, far, before):
    proxy = before(lambda number, request: flip(number) if is_of_tokens(request) else None)
    store = far.open(options={"endpoint_url": proxy.address})
    name = tokens(near)[0]
    message = rf"{far.url}/{name} holds other tokens than were written.* \(bytes [\d,]+ to [\d,]+ were asked for\)"
    with pytest.raises(StoreCorruptError, match=message):
        store[0]


@pytest.mark.parametrize("kind", ["busy", "denied", "lose", "stall"])
def test_what_does_not_pass_is_told_in_time_with_object_and_range(near, far, before, kind):
    answers = {"busy": BUSY, "denied": DENIED}

    def fault(_, request):
        return (answers.get(kind) or getattr(proxy, kind)) if is_of_tokens(request) else None

    proxy = before(fault)
    store = far.open(options={"endpoint_url": proxy.address, "timeout": 0.6})
    begun = time.monotonic()
    message = rf"{far.url}/{tokens(near)[1]}: .* \(bytes [\d,]+ to [\d,]+ were asked for\)"
    with pytest.raises(StorageError, match=message):
        store[COUNT - 1]
    assert time.monotonic() - begun < 4


def test_credentials_that_expire_and_come_back_lose_nothing(near, far, before):
    denied = []

    def fault(_, request):
        if not is_of_tokens(request) or len(denied) >= 3:
            return None
        denied.append(request)
        return DENIED

    store = far.open(options={"endpoint_url": before(fault).address, "timeout": 10})
    assert store.take([1, 200]) == near.take([1, 200])
    assert len(denied) == 3


def test_an_object_that_is_replaced_meanwhile_is_told(near, far):
    store = far.open()
    store.take([0])
    name = tokens(near)[0]
    open_storage(far.url, far.options).put(name, bytes(near.manifest.shards[0].files[0].bytes))
    with pytest.raises(StoreChangedError, match=f"{name}: the object was replaced while it was read"):
        store.take([0])


def test_a_store_that_took_the_place_of_another_is_told(near, far, tmp_path):
    store = far.open()
    other = write_store(tmp_path / "other", near.lengths[::-1], records_per_shard=150)
    Far(other, far.url, far.options, None)
    with pytest.raises(StoreChangedError, match="was replaced by another store while it was in use"):
        store.take(np.arange(COUNT))


def test_a_slow_request_holds_up_only_who_needs_it(near, far, before):
    """The first shard's tokens take seconds; those of the second come at once."""
    first = tokens(near)[0].encode()

    def slow(connection, answer):
        time.sleep(2)
        connection.sendall(answer)

    proxy = before(lambda _, request: slow if is_of_tokens(request) and first in request else None)
    store = far.open(options={"endpoint_url": proxy.address})
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(store.take, [0])
        begun = time.monotonic()
        assert store.take([COUNT - 1]) == near.take([COUNT - 1])
        assert time.monotonic() - begun < 1.5
        assert waiting.result() == near.take([0])
