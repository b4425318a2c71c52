import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
from pathlib import Path

import pytest


@pytest.fixture
def nothing_is_left():
    """No child, no descriptor, no blocked signal; the helpers of `multiprocessing` itself stay."""
    multiprocessing.resource_tracker.ensure_running()
    multiprocessing.forkserver.ensure_running()
    children, descriptors = set(multiprocessing.active_children()), len(list(Path("/dev/fd").iterdir()))
    yield
    assert set(multiprocessing.active_children()) <= children
    assert len(list(Path("/dev/fd").iterdir())) <= descriptors
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == set()
