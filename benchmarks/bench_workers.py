"""Preparing with two workers beside one, each run a process of its own; its memory, its safety, and going on.

One tokeniser thread a process. What is prepared lies in files of JSON Lines in the page cache.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from functools import cache

import pytest

from benchmarks.bench_prepare import EXTRA, HAS_EXTRA, encoding_or_skip
from benchmarks.harness.corpora import instructions
from benchmarks.harness.processes import kill_tree, tree_pss_bytes

SIZES = {"with": (4, 20, 40, 100, 1000), "without": (4, 20, 40, 100)}  # megabytes, with the extra `fast` or not
CASES = [
    pytest.param((extra, size), marks=[] if size == 4 else pytest.mark.measured, id=f"{size} MB {extra} fast")
    for extra, sizes in SIZES.items()
    for size in sizes
]
LARGE = 2000  # megabytes
QUICK = 100  # what a quick run does not exceed
FEW = 3  # rounds of what takes long
PREPARE = """
import sys, time
from fastcollate import prepare
source, output, workers = sys.argv[1:]
begun = time.perf_counter()
prepare(source, output, workers=int(workers), template="alpaca", encoding="gpt2")
print(time.perf_counter() - begun)
"""
UNSAFE = """
import os
import numpy as np
from fastcollate.pretokenize.places.journal_file import JournalFile
from fastcollate.store.shards import shard_files
class Unhashed(shard_files.HashingFile):
    sha256 = "0" * 64
    def write(self, data):
        self.count += memoryview(data).nbytes
        return self._file.write(data)
os.fsync = lambda _: None
JournalFile.add = lambda *_: None
shard_files.HashingFile = Unhashed
shard_files.index_hash = lambda _: "0" * 64
shard_files.block_checksums = lambda values: np.zeros(-(-values.nbytes // 16_384), np.uint32)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@pytest.fixture(scope="module")
def source_of(tmp_path_factory, sized):
    """`source_of(megabytes)`: a file of instructions of that size, 100 kB as a test; made once."""
    block = "".join(json.dumps(record) + "\n" for record in instructions(sized(100_000, 100_000, 1000))[0])

    @cache
    def make(megabytes):
        if megabytes > sized(LARGE, QUICK, LARGE):
            pytest.skip(f"--quick measures up to {QUICK} MB")
        path = tmp_path_factory.mktemp("source") / "records.jsonl"
        left = int(sized(megabytes * 1e6, megabytes * 1e6, 1e5))
        with path.open("w") as file:
            for _ in range(left // len(block)):
                file.write(block)
            file.writelines(line + "\n" for line in block[: left % len(block)].splitlines()[:-1])
        return path

    return make


@pytest.fixture
def begin(tmp_path):
    """`begin(source, workers, extra="with", before="")`: (process that prepares, its output)."""
    encoding_or_skip("gpt2")
    without = tmp_path / "without"
    without.mkdir()
    for name in EXTRA:
        (without / f"{name}.py").write_text("raise ImportError\n")
    number = iter(range(10**6))

    def run(source, workers, extra="with", before="", output=None):
        output = output or tmp_path / f"store-{next(number)}"
        path = [os.environ.get("PYTHONPATH", "")] if extra == "with" else [str(without)]
        command = [sys.executable, "-c", before + PREPARE]
        process = subprocess.Popen(
            [*command, source, output, str(workers)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
            stdout=subprocess.PIPE,
            text=True,
        )
        return process, output

    return run


def ended(process):
    """The seconds of `prepare`, once the process is over."""
    told, _ = process.communicate()
    assert process.returncode == 0
    return float(told)


def manifest_of(output):
    return (output / "manifest.json").read_bytes()


def timed(begin, *how, **options):
    process, output = begin(*how, **options)
    took, made = ended(process), manifest_of(output)
    shutil.rmtree(output)
    return took, made


@pytest.mark.parametrize("case", CASES)
def test_two_workers_beside_one(figure, rounds, source_of, begin, case):
    extra, megabytes = case
    if extra == "with" and not HAS_EXTRA:
        pytest.skip("the extra fast is not installed")
    source, took, made = source_of(megabytes), {1: [], 2: []}, set()
    for number in range(rounds if megabytes <= QUICK else min(rounds, FEW)):
        for workers in (1, 2) if number % 2 else (2, 1):
            seconds, manifest = timed(begin, source, workers, extra)
            took[workers].append(seconds)
            made.add(manifest)
    assert len(made) == 1
    ratios = [one / two for one, two in zip(took[1], took[2], strict=True)]
    title = f"preparing {megabytes} MB {extra} the extra fast" + (f", {FEW} rounds" if megabytes > QUICK else "")
    figure(f"{title}, one worker ÷ two", ratios, "times")
    figure(f"{title}, two workers", took[2], "s")


def test_memory_of_all_processes(figure, source_of, begin, sized):
    process, _ = begin(source_of(LARGE), 2)
    peak = [0]

    def watch():
        while process.poll() is None:
            peak[0] = max(peak[0], tree_pss_bytes(process.pid))
            time.sleep(sized(0.1, 0.1, 0.01))

    watching = threading.Thread(target=watch)
    watching.start()
    ended(process)
    watching.join()
    assert peak[0] > 0
    figure(f"preparing {LARGE} MB, peak memory of all processes, once", peak[0] / 1e6, "MB")


def test_what_safety_takes(figure, rounds, source_of, begin):
    """Checksums, the journal and bringing files to the disk, beside the same without them."""
    source, ratios = source_of(1000), []
    for number in range(min(rounds, FEW)):
        order = ("", UNSAFE) if number % 2 else (UNSAFE, "")
        runs = {before: timed(begin, source, 1, before=before) for before in order}
        (safe, whole), (unsafe, other) = runs[""], runs[UNSAFE]
        assert json.loads(whole)["lengths"] == json.loads(other)["lengths"]
        ratios.append(safe / unsafe)
    figure(f"preparing 1000 MB, with checksums, journal and fsync ÷ without, {FEW} rounds", ratios, "times")


@pytest.mark.parametrize("workers", [1, 2])
def test_going_on_after_a_kill_at_nine_tenths(figure, source_of, begin, full_size, workers):
    if not full_size:
        pytest.skip("a small source is one task")
    source = source_of(LARGE)
    whole, made = timed(begin, source, workers)
    process, output = begin(source, workers)
    while _finished(output) < 0.9 * (source.stat().st_size >> 23):  # tasks have 8 MiB
        assert process.poll() is None
        time.sleep(0.01)
    kill_tree(process)
    process.stdout.close()
    again, _ = begin(source, workers, output=output)
    share = ended(again) / whole
    figure(f"going on with {LARGE} MB after a kill at 90 %, {workers} workers, of the whole, once", share, "times")
    assert manifest_of(output) == made


def _finished(output):
    """How many tasks the journal has."""
    try:
        return (output / "journal.jsonl").read_bytes().count(b"\n") - 1
    except OSError:
        return 0
