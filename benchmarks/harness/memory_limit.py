"""A control group of this machine that limits the memory of a process, files in its cache included."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

FIRST, SECOND = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(megabytes):
    """A function that runs a command within the limit and returns what it printed; skips where there is none."""
    group = (FIRST if FIRST.exists() else SECOND) / f"fastcollate-bench-{os.getpid()}"
    limit = "memory.limit_in_bytes" if FIRST.exists() else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(megabytes << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")

    def run(command, **options):
        inside = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", inside, "sh", *map(str, command)], capture_output=True, text=True, check=False, **options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        yield run
    finally:
        group.rmdir()


def drop_from_cache(*files):
    """Have the next reader of some files wait for the disk."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
