"""Which worker processes run, as the system tells it."""

import os
import time
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def children(pid=None):
    """The workers that `pid`, or this process, started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == (pid or os.getpid()) and state != "Z" and b"pretokenize.engines.worker" in command:
            found.append(int(stat.parent.name))
    return found


def descendants(pid=None):
    """All that run below `pid`, or this process: the number of each, and its command line."""
    commands, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            commands[int(stat.parent.name)] = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found = [pid or os.getpid()]
    for above in found:
        found += [below for below, parent in parents.items() if parent == above]
    return [(each, commands[each]) for each in found[1:]]


def wait_until(happened, limit):
    end = time.monotonic() + limit
    while not happened():
        assert time.monotonic() < end, f"it took more than {limit} seconds"
        time.sleep(0.01)


def is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
