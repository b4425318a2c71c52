import os
import signal
from itertools import count

import pytest
from hypothesis import settings
from object_server import CLOUD, Proxy, ask, s3_server
from object_server import settings as settings_of
from stores import lognormal_lengths, write_store

settings.register_profile("any machine", deadline=None)  # pytest's timeout finds hangs; slowness is no failure
settings.load_profile("any machine")

NUMBERS = count()
for name in [name for name in os.environ if name == "PYTEST_ADDOPTS" or name.startswith("PYTEST_XDIST_")]:
    del os.environ[name]  # they are this run's, not those of a pytest that a test starts


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard():
    """Ctrl-C, which background jobs of a shell ignore, and SIGHUP, ignored under nohup: here and in processes."""
    heard = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        heard[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """1,003 records of 1 to 200 tokens in four shards, with spans."""
    lengths = lognormal_lengths(1003)
    return write_store(tmp_path_factory.mktemp("data") / "store", lengths, records_per_shard=300, spans=True)


@pytest.fixture(scope="session")
def server():
    """The address of a server of S3."""
    pytest.importorskip("obstore", reason=CLOUD)
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server):
    """The URL of a new bucket."""
    name = f"bucket-{next(NUMBERS)}"
    ask(server, name, "PUT")
    return f"s3://{name}"


@pytest.fixture
def options(server):
    return settings_of(server)


@pytest.fixture
def before(server):
    """A function that puts a proxy before the server, by its fault."""
    proxies = []

    def put(fault):
        proxies.append(Proxy(server, fault))
        return proxies[-1]

    yield put
    for proxy in proxies:
        proxy.close()
