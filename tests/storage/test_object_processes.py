"""Object storage among processes: a fork, Ctrl-C, and the end of a program while something is read ahead."""

import os
import signal
import subprocess
import sys
import time

import pytest
from object_server import settings

from fastcollate.storage.storage import open_storage

PROGRAM = """
import os, signal, sys
from fastcollate.errors import StorageError
from fastcollate.storage.storage import open_storage
storage = open_storage(sys.argv[1], {"key": "a", "secret": "b", "endpoint_url": sys.argv[2], "timeout": 20})
"""


def start(code, *arguments):
    command = [sys.executable, "-c", PROGRAM + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_is_told_that_it_cannot_go_on(bucket, server):
    code = """
print(storage.sizes(), flush=True)
child = os.fork()
if not child:
    signal.alarm(5)
    try:
        storage.sizes()
    except StorageError as error:
        print(error, flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], storage.sizes())
"""
    out, err = start(code, bucket, server).communicate(timeout=20)
    first, told, last = out.splitlines()
    assert (first, last, err) == ("{}", "0 {}", "")
    assert told.startswith("object storage was used before this process was forked, and a fork does not copy")
    assert "start processes by spawn or forkserver" in told


def test_a_fork_before_the_first_use_is_none(bucket, server):
    code = """
child = os.fork()
print(storage.sizes(), flush=True)
if child:
    print(os.waitpid(child, 0)[1])
"""
    out, err = start(code, bucket, server).communicate(timeout=20)
    assert (out.splitlines(), err) == (["{}", "{}", "0"], "")


def test_an_interrupt_is_heard_while_a_server_is_silent(bucket, before):
    proxy = before(lambda *_: proxy.stall)
    program = start("storage.sizes()", bucket, proxy.address)
    while not proxy.requests:
        assert program.poll() is None
        time.sleep(0.02)
    begun = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=10)
    assert time.monotonic() - begun < 3
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert program.returncode in (-signal.SIGINT, 130, 1)


def test_a_program_ends_while_it_reads_ahead(bucket, server, before):
    open_storage(bucket, settings(server)).put("data", bytes(2_000_000))
    proxy = before(lambda _, request: proxy.stall if b"range: bytes=786432" in request else None)
    code = """
file = storage.open("data")
print(len(file.read(600_000)), flush=True)
"""
    begun = time.monotonic()
    out, err = start(code, bucket, proxy.address).communicate(timeout=20)
    assert (out, err) == ("600000\n", "")
    assert time.monotonic() - begun < 5
