"""Each request of a reader of an object store fails once, or it and all later ones: right, or told in time.

`FASTCOLLATE_FAULTS=1000` tries every request with every fault instead of some.
"""

import os
import time
from itertools import count

import pytest
from batches import contents
from far_stores import Far, keep_in_memory
from object_server import BUSY, DENIED
from stores import lognormal_lengths, write_store

from fastcollate import BucketedDataset, FastCollateError, PaddingCollator, StreamLoader

ALL = int(os.environ.get("FASTCOLLATE_FAULTS", "40")) >= 1000
KINDS = ["busy", "denied", "lose", "cut", "stall"]
PASSING = {"busy", "lose", "cut", "stall"}  # what is tried again; a denial is believed
SECONDS = 1.5  # of a call, with all its tries


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    lengths = lognormal_lengths(120, mean=5.5, high=900)
    return write_store(tmp_path_factory.mktemp("near") / "store", lengths, records_per_shard=60, spans=True)


@pytest.fixture
def read(near, bucket, options, before, tmp_path, monkeypatch):  # noqa: PLR0917
    """`read(fails, kind)`: an epoch's batches, and the requests it took, of which `n` fails if `fails(n)`."""
    far, number = Far(near, f"{bucket}/store", options, None), count()

    def read(fails, kind):
        monkeypatch.setenv("FASTCOLLATE_CACHE_DIR", str(tmp_path / f"cache{next(number)}"))
        keep_in_memory(monkeypatch, 256 << 20)
        asked = []

        def fault(_, request):
            asked.append(request)
            if not fails(len(asked) - 1):
                return None
            return {"busy": BUSY, "denied": DENIED}.get(kind) or getattr(proxy, kind)

        proxy = before(fault)
        store = far.open(options={"endpoint_url": proxy.address, "timeout": SECONDS})
        with StreamLoader(BucketedDataset(store, batch_size=16, seed=2), PaddingCollator(256)) as loader:
            return contents(loader), len(asked)

    return read


@pytest.fixture
def right(near):
    return contents(StreamLoader(BucketedDataset(near, batch_size=16, seed=2), PaddingCollator(256)))


def chosen(requests):
    """Which request fails in which way: all, or one way for each."""
    pairs = [(number, kind) for number in range(requests) for kind in KINDS]
    return pairs if ALL else pairs[:: len(KINDS) + 1]


def outcome(read, *given):
    begun = time.monotonic()
    try:
        found = read(*given)[0]
    except FastCollateError as error:
        found = error
    return found, time.monotonic() - begun


def test_a_request_that_fails_once_is_made_again(read, right):
    batches, requests = read(lambda _: False, "busy")
    assert batches == right
    assert requests >= 8
    for number, kind in chosen(requests):
        found, took = outcome(read, lambda n, number=number: n == number, kind)
        assert found == right or (kind not in PASSING and isinstance(found, FastCollateError)), (
            number,
            kind,
            found,
        )
        assert took < 4 * SECONDS, (number, kind)


@pytest.mark.slow
def test_a_server_that_stays_away_is_told_in_time(read, right):
    _, requests = read(lambda _: False, "busy")
    for number, kind in chosen(requests)[:: 1 if ALL else 3]:
        found, took = outcome(read, lambda n, number=number: n >= number, kind)
        assert isinstance(found, FastCollateError), (number, kind)
        assert took < 6 * SECONDS, (number, kind)
