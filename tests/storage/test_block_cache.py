"""Blocks kept on a disk: fetched once for all processes, never believed, never more than was allowed."""

import errno
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from fastcollate import StorageError
from fastcollate.storage.network.block_cache import BLOCK_BYTES, FILE_BLOCKS, BlockCache, Blocks

DATA = np.random.default_rng(1).bytes(40 * BLOCK_BYTES + 100)


def blocks_of(first, stop, data=DATA, content="c" * 64):
    return Blocks(
        content, first, [zlib.crc32(data[n * BLOCK_BYTES : (n + 1) * BLOCK_BYTES]) for n in range(first, stop)]
    )


class Server:
    """What blocks are fetched from, and which were."""

    def __init__(self, data=DATA):
        self.data, self.asked = data, []

    def read(self, cache, first, stop, content="c" * 64):
        out = memoryview(bytearray(min(stop * BLOCK_BYTES, len(self.data)) - first * BLOCK_BYTES))

        def fetch(begin, end):
            self.asked += range(first + begin, first + end)
            return memoryview(self.data)[(first + begin) * BLOCK_BYTES : (first + end) * BLOCK_BYTES]

        cache.read(blocks_of(first, stop, self.data, content), out, fetch)
        assert bytes(out) == self.data[first * BLOCK_BYTES : stop * BLOCK_BYTES]


@pytest.fixture
def server():
    return Server()


def test_a_block_is_fetched_once(tmp_path, server):
    cache = BlockCache(tmp_path / "made")
    for first, stop in ((3, 7), (5, 9), (0, 41), (40, 41)):
        server.read(cache, first, stop)
    assert sorted(server.asked) == list(range(41))
    server.read(BlockCache(tmp_path / "made"), 0, 41)
    assert len(server.asked) == 41


@pytest.mark.parametrize("damage", ["flip", "cut", "marks"])
def test_what_lies_on_the_disk_is_not_believed(tmp_path, server, damage):
    cache = BlockCache(tmp_path)
    server.read(cache, 0, 10)
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[3 * BLOCK_BYTES + 5] ^= 4
    elif damage == "marks":  # that blocks are there which never came, as a crash of the machine may leave it
        data[FILE_BLOCKS * BLOCK_BYTES :] = b"\1" * 40
    path.write_bytes(data[:BLOCK_BYTES] if damage == "cut" else data)
    server.read(cache, 0, 41)
    again = {"flip": [3], "cut": list(range(10)), "marks": []}[damage]
    assert sorted(server.asked) == sorted([*range(41), *again])


def test_no_more_is_kept_than_allowed_and_what_was_read_last_stays(tmp_path):
    limit = 24 << 20
    cache, server = BlockCache(tmp_path, limit), Server(np.random.default_rng(2).bytes(FILE_BLOCKS * BLOCK_BYTES))
    for number in range(20):
        server.read(cache, 0, FILE_BLOCKS, content=f"{number:064d}")
        held = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
        assert held <= limit
    assert held > limit / 2
    asked = len(server.asked)
    server.read(cache, 0, FILE_BLOCKS, content=f"{19:064d}")
    assert len(server.asked) == asked


def test_a_full_disk_keeps_nothing_and_is_told_once(tmp_path, server, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = BlockCache(tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    server.read(cache, 0, 41)
    server.read(cache, 0, 41)
    assert len(server.asked) == 82
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{tmp_path}: cannot be used as a cache (No space left on device): what is read")


def test_a_directory_that_goes_is_done_without(tmp_path, server):
    cache = BlockCache(tmp_path / "made")
    (tmp_path / "made").rmdir()
    server.read(cache, 0, 41)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        BlockCache(tmp_path / "file")


@pytest.mark.skipif(sys.platform != "linux", reason="needs locks of ranges")
def test_of_two_that_need_a_block_one_fetches_it(tmp_path, server):
    """And who needs another block of the same file waits for nobody."""
    cache, begun, go_on = BlockCache(tmp_path), threading.Event(), threading.Event()
    slow = Server()

    def fetch(first, stop):
        begun.set()
        assert go_on.wait(20)
        return memoryview(DATA)[5 * BLOCK_BYTES : 8 * BLOCK_BYTES]

    out = memoryview(bytearray(3 * BLOCK_BYTES))
    first = threading.Thread(target=cache.read, args=(blocks_of(5, 8), out, fetch))
    first.start()
    assert begun.wait(20)
    slow.read(cache, 20, 30)
    second = threading.Thread(target=server.read, args=(BlockCache(tmp_path), 4, 9))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    second.join(20)
    first.join(20)
    assert sorted(server.asked) == [4, 8]


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from storage.test_block_cache import BlockCache, Server
cache, server = BlockCache(Path(sys.argv[1])), Server()
print("begun", flush=True)
while True:
    for path in Path(sys.argv[1]).iterdir():
        path.unlink(missing_ok=True)
    server.read(cache, 0, 41)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs locks of ranges")
def test_a_process_that_is_killed_leaves_nobody_waiting(tmp_path, server):
    code = PROGRAM.replace("storage.test_block_cache", "test_block_cache")
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    for _ in range(2):
        program = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        program.stdout.readline()
        program.kill()
        program.communicate()
        server.read(BlockCache(tmp_path), 0, 41)
