"""Merging two stores, beside `cp -r` of both: by links, and by copies to another file system or on the same one.

What is copied is hashed and brought to the disk before the store counts as one. `cp` does neither: on
a disk it is measured alone, and with a `sync` after it.
"""

import errno
import os
import shutil
import statistics
import subprocess
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from benchmarks.bench_scale import write_tiny
from benchmarks.harness.timing import seconds
from fastcollate import TokenStore, merge

MEMORY = Path("/dev/shm")  # a file system in memory, on Linux


@pytest.fixture(scope="module", params=[6, 7])
def two(request, tmp_path_factory, power_of_ten):
    """(exponent, folder) of two stores of 10^exponent tiny records each, which is removed afterwards."""
    folder = tmp_path_factory.mktemp("merge")
    for name in "ab":
        write_tiny(folder / name, power_of_ten(request.param))
    yield request.param, folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder on another file system than the stores."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path_factory.getbasetemp().stat().st_dev:
        pytest.skip("there is no other file system")
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def refuse(*_):
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def assert_merged(store, parts):
    """The records are there one store after another, and each file is that of a part, byte for byte."""
    np.testing.assert_array_equal(store.lengths, np.concatenate([part.lengths for part in parts]), strict=True)
    files = [file for part in parts for shard in part.manifest.shards for file in shard.files]
    found = [file for shard in store.manifest.shards for file in shard.files]
    assert [(file.bytes, file.sha256) for file in found] == [(file.bytes, file.sha256) for file in files]
    store.verify()


def contest(figure, rounds, case, two, output, *rivals):
    """Run `merge` into folders of `output`, and `rivals` in turn with it: how many times their time it takes."""
    exponent, folder = two
    parts, number = [TokenStore(folder / name) for name in "ab"], count()

    def timed(function):
        target = output / f"made-{next(number)}"
        took = seconds(lambda: function(target))
        shutil.rmtree(target)
        return took

    def ours(target):
        return merge([folder / name for name in "ab"], target)

    assert_merged(ours(output / "checked"), parts)
    shutil.rmtree(output / "checked")
    runs = [[timed(ours), *(timed(run) for run in rivals)] for _ in range(rounds + 1)][1:]
    mine, *theirs = zip(*runs, strict=True)
    title = f"merging two stores of 10^{exponent} records, {case}"
    figure(title, [each * 1e3 for each in mine], "ms")
    for rival, took in zip(rivals, theirs, strict=True):
        ratios = [a / b for a, b in zip(mine, took, strict=True)]
        milliseconds = statistics.median(took) * 1e3
        figure(f"{title}, ours ÷ {rival.__doc__}", ratios, "times", rival_milliseconds=milliseconds)


def copying(folder):
    def copy(target):
        """cp -r"""
        target.mkdir()
        subprocess.run(["cp", "-r", folder / "a", folder / "b", target], check=True)

    return copy


def copying_for_good(folder):
    def copy(target):
        """cp -r and sync"""
        copying(folder)(target)
        subprocess.run(["sync", *target.glob("*/*")], check=True)

    return copy


def test_by_links(figure, rounds, two):
    contest(figure, rounds, "links", two, two[1], copying(two[1]))


def test_by_copies_to_another_file_system(figure, rounds, two, elsewhere):
    contest(figure, rounds, "copies to memory", two, elsewhere, copying(two[1]))


def test_by_copies_on_the_same_file_system(figure, rounds, two, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    contest(figure, rounds, "copies", two, two[1], copying(two[1]), copying_for_good(two[1]))
