import signal

import pytest
from hypothesis import settings
from stores import lognormal_lengths, write_store

settings.register_profile("any machine", deadline=None)  # pytest's timeout finds hangs; slowness is no failure
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard():
    """Ctrl-C, which a shell lets its background jobs ignore, here and in the processes that tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """1,003 records of 1 to 200 tokens in four shards, with spans."""
    lengths = lognormal_lengths(1003)
    return write_store(tmp_path_factory.mktemp("data") / "store", lengths, records_per_shard=300, spans=True)
