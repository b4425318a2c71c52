"""What servers, networks, other writers and the end of a process do to a store that is made in an object store."""

import multiprocessing
import os
import signal
import tempfile
import threading
import time

import pytest
from object_server import BUSY, CLOUD, DENIED, answer, settings
from remote_runs import run_with_small_tasks, runs_in

from fastcollate import StorageError, StoreError, StoreWriteError
from fastcollate.pretokenize.parts import tasks
from fastcollate.pretokenize.places import in_objects
from fastcollate.store.manifest import Manifest

pytest.importorskip("obstore", reason=CLOUD)

SECONDS = 0.6
GONE = answer("404 Not Found", "NoSuchBucket")


@pytest.fixture
def runs(monkeypatch, tmp_path, bucket, options):
    """Runs whose source is cut into parts of 4 KiB."""
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 4096)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return runs_in(tmp_path, bucket, options)


def is_whole(runs):
    """Whether there is a manifest, which then tells of files that are all there."""
    there = runs.contents()
    if "manifest.json" not in there:
        return False
    manifest = Manifest.from_bytes(there["manifest.json"], "manifest.json")
    for file in (file for shard in manifest.shards for file in shard.files):
        assert len(there[file.name]) == file.bytes
    return True


def from_then_on(first, fault):
    """A fault of all requests from the first that `first` is true of."""
    begun = []

    def fault_of(_, request):
        if begun or first(request):
            begun.append(1)
            return fault
        return None

    return fault_of


MOMENTS = {
    "claim": lambda request: request.startswith(b"PUT") and b"begun.json" in request[:200],
    "upload": lambda request: request.startswith(b"PUT") and b"/task-00002" in request[:200],
    "journal": lambda request: request.startswith(b"PUT") and b"/journal/00002" in request[:200],
    "rename": lambda request: request.startswith(b"PUT") and b"/shard-00001" in request[:200],
    "rejected": lambda request: request.startswith(b"PUT") and b"/rejected.jsonl" in request[:200],
    "manifest": lambda request: request.startswith(b"PUT") and b"/manifest.json" in request[:200],
    "tidy": lambda request: request[:200].count(b"?delete") and b"/journal/00001.json" in request,
}
KINDS = {"busy": "the server is busy", "denied": "the server refuses the credentials", "gone": "no such bucket"}


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        ("claim", "denied"),
        ("upload", "busy"),
        ("journal", "denied"),
        ("rename", "gone"),
        ("rejected", "busy"),
        ("manifest", "lose"),
    ],
)
def test_a_fault_that_stays_is_told_in_time_and_loses_nothing(runs, before, moment, kind):
    answers = {"busy": BUSY, "denied": DENIED, "gone": GONE}
    fault = answers.get(kind) or (lambda *_: None)
    proxy = before(from_then_on(MOMENTS[moment], fault))
    begun = time.monotonic()
    with pytest.raises(StorageError, match=KINDS.get(kind, "the connection broke before an answer came")):
        runs.prepare(options=settings(proxy.address, timeout=SECONDS))
    assert time.monotonic() - begun < 6 * SECONDS + 2
    assert "manifest.json" not in runs.there.sizes() or (moment, kind) == ("manifest", "lose")
    done = []
    store = runs.prepare(progress=done.append)
    assert sum(done) < len(store) or moment == "claim"
    assert runs.contents() == runs.locally()


def test_what_passes_gives_the_same_bytes(runs, before):
    proxy = before(lambda number, _: BUSY if number % 11 == 1 else proxy.lose if number % 17 == 1 else None)
    runs.prepare(options=settings(proxy.address, timeout=2))
    assert runs.contents() == runs.locally()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_that_is_killed_at_any_moment_goes_on(tmp_path, runs, before):
    whole, killed = runs.locally(), []
    moments = [MOMENTS[name] for name in ("upload", "rename", "manifest", "tidy")]

    def kill(_, request):
        if len(killed) < len(moments) and moments[len(killed)](request):
            program.kill()
            return b""
        return None

    proxy = before(kill)
    processes = multiprocessing.get_context("forkserver")  # which has not used the network, and is quick
    processes.set_forkserver_preload(["pyarrow", "fastcollate.pretokenize.run"])
    what = runs.source, runs.url, tmp_path, settings(proxy.address)
    while True:
        program = processes.Process(target=run_with_small_tasks, args=what)
        program.start()
        program.join(60)
        if program.exitcode != -signal.SIGKILL:
            break
        killed.append(is_whole(runs))
    assert killed == [False] * 3 + [True]
    assert runs.contents() == whole
    with pytest.raises(StoreWriteError, match="already holds a store"):
        runs.prepare()
    assert not list(tmp_path.glob("fastcollate-drafts-*"))


@pytest.mark.parametrize("delays", [(0, 0), (0, 0.5), (0, 0, 0)])
def test_of_writers_at_the_same_time_one_wins_and_the_others_are_told(runs, delays):
    ends = []

    def write(delay):
        time.sleep(delay)
        try:
            ends.append(runs.prepare())
        except Exception as error:  # noqa: BLE001  # which is looked at below
            ends.append(error)

    writers = [threading.Thread(target=write, args=[delay]) for delay in delays]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    told = [end for end in ends if isinstance(end, Exception)]
    assert len(told) < len(ends), told
    for error in told:
        assert isinstance(error, StoreWriteError), error
        assert "another process has" in str(error) or "already holds a store" in str(error)
    assert runs.contents() == runs.locally()


def test_who_finds_a_manifest_at_the_end_has_lost_and_touches_nothing(runs, monkeypatch):
    """Two that have all tasks finished, up to the last call."""
    put = in_objects.PrefixPlace.commit

    def overtaken(place, manifest):
        monkeypatch.setattr(in_objects.PrefixPlace, "commit", put)
        runs.prepare()
        put(place, manifest)

    monkeypatch.setattr(in_objects.PrefixPlace, "commit", overtaken)
    with pytest.raises(StoreWriteError, match=f"^{runs.url}: another process has made a store there meanwhile"):
        runs.prepare()
    assert runs.contents() == runs.locally()


def test_a_source_that_cannot_be_told_from_another_does_not_go_on(runs, monkeypatch):
    records = [{"text": str(i), "kind": "a"} for i in range(50)]

    def dies(*_):
        patch.setattr(in_objects.PrefixPlace, "delete", dies)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(in_objects.PrefixPlace, "commit", dies)
        with pytest.raises(SystemExit):
            runs.prepare(iter(records))
    with pytest.raises(StoreError, match="its source, standard input or an iterable, cannot be told from another"):
        runs.prepare(iter(records))
    for name in runs.there.sizes():
        runs.there.delete(name)
    assert len(runs.prepare(iter(records))) == 50
    assert is_whole(runs)
