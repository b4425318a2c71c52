"""Ray: the bytes of the local engine, whatever becomes of workers, and nothing left running."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stores import contents
from workers import descendants, is_running, needs_proc, wait_until

from fastcollate import InputError, StorageError, WorkerError, prepare
from fastcollate.pretokenize import work
from fastcollate.pretokenize.engines import ray_cluster
from fastcollate.pretokenize.engines.engine import ThisProcess, in_order
from fastcollate.pretokenize.engines.ray_cluster import RayCluster
from fastcollate.pretokenize.parts import tasks
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.templates.segments import Document, Segment

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
OPTIONS = {"encoding": "bytes", "template": "text", "on_error": "skip", "keep_columns": ["kind"]}


@pytest.fixture(scope="module")
def ray():
    """One Ray for many tests, whose workers find this module."""
    found = pytest.importorskip("ray", reason="pip install 'fastcollate[ray]'")
    sys.path.insert(0, str(HERE))
    with ray_cluster._connected(2):
        yield found
    sys.path.remove(str(HERE))
    assert not found.is_initialized()


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Sources are cut into parts of 4 KiB."""
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 4096)


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source.jsonl", 2000)


def write_source(path, count):
    lines = [json.dumps({"text": f"{i} " + "x" * (i % 70), "kind": "ab"[i % 2]}) for i in range(count)]
    lines[2::40] = ['{"text": 5, "kind": "bad"}'] * len(lines[2::40])
    path.write_text("\n".join(lines) + "\n")
    return path


def ray_workers(pid=None):
    """The processes that are at a task, below `pid` or this process."""
    return [pid for pid, command in descendants(pid) if command.startswith(b"ray::_answered")]


def kill_one_at_work(pid=None):
    """Wait for a process that is at a task, as between two tasks none is; kill it, and return its number."""
    at_work = []
    wait_until(lambda: at_work.extend(ray_workers(pid)) or at_work, limit=30)
    os.kill(at_work[0], signal.SIGKILL)
    return at_work[0]


# The same bytes


@needs_proc
def test_the_bytes_are_those_of_the_local_engine_though_workers_are_killed(ray, tmp_path, source):
    whole = prepare(source, tmp_path / "local", workers=1, **OPTIONS)
    killed, done = [], []

    def kill(count):
        done.append(count)
        if len(done) in (5, 20):
            killed.append(kill_one_at_work())

    for name in ("killed", "again"):
        store = prepare(source, tmp_path / name, engine="ray", workers=2, progress=kill, **OPTIONS)
        assert contents(tmp_path / name) == contents(tmp_path / "local")
        assert len(store.manifest.shards) == len(whole.manifest.shards) > 20
    assert len(killed) == 2
    assert sum(done) == 2 * len(whole)


def test_relative_paths_are_those_of_the_program(ray, tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare("source.jsonl", "on ray", engine="ray", layout="npy", **OPTIONS)
    prepare("source.jsonl", "here", workers=1, layout="npy", **OPTIONS)
    assert contents("on ray") == contents("here")


def test_records_that_can_be_read_once_are_encoded_on_ray(ray, tmp_path):
    records = [{"text": str(i), "kind": "a"} for i in range(10_000)]
    prepare(iter(records), tmp_path / "ray", engine="ray", **OPTIONS)
    prepare(iter(records), tmp_path / "local", workers=1, **OPTIONS)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def variables(names):
    yield [os.environ.get(name) for name in names]


def test_what_object_stores_and_caches_are_told_by_travels(ray, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "nowhere-1")
    monkeypatch.setenv("SECRET_OF_MINE", "1")
    assert list(RayCluster(1, timeout=60).run(variables, [["AWS_REGION", "SECRET_OF_MINE"]])) == [
        (0, ["nowhere-1", None])
    ]


# Errors


def test_an_error_of_a_record_is_ours_with_its_address(ray, tmp_path, source):
    with pytest.raises(InputError, match=r"source.jsonl, line 3: ") as caught:
        prepare(source, tmp_path / "s", engine="ray", **OPTIONS | {"on_error": "raise"})
    assert (caught.value.path, caught.value.row) == (str(source), 3)
    assert not (tmp_path / "s").exists()


class Stumbling:
    """Work that fails for some tasks, sooner for later ones, and notes what it began."""

    def __init__(self, path):
        self.path = path

    def __call__(self, number):
        with self.path.open("a") as file:
            file.write(f"{number}\n")
        yield number
        if number in (3, 4):
            time.sleep(1.0 if number == 3 else 0)
            raise KeyError(number)


def test_of_two_tasks_that_fail_the_first_is_told_and_neither_is_tried_again(ray, tmp_path):
    done = []
    with pytest.raises(WorkerError, match="the work failed on Ray by KeyError: 3") as caught:
        done.extend(
            number for number, _ in RayCluster(2, 60, window=9).run(Stumbling(tmp_path / "begun"), range(9))
        )
    assert {0, 1, 2} <= set(done)
    assert isinstance(caught.value.__cause__, KeyError)
    begun = (tmp_path / "begun").read_text().split()
    assert len(begun) == len(set(begun))


def deadly(path):
    with path.open("a") as file:
        file.write("begun\n")
    os.kill(os.getpid(), signal.SIGKILL)
    yield


@pytest.mark.slow
def test_a_task_whose_workers_all_die_is_our_error(ray, tmp_path):
    with pytest.raises(WorkerError, match=r"a task on Ray was lost, 3 times tried again .* run out of memory"):
        list(RayCluster(1, timeout=60).run(deadly, [tmp_path / "begun"]))
    assert (tmp_path / "begun").read_text() == 4 * "begun\n"


def silent(path):
    path.write_text(str(os.getpid()))
    yield 1
    time.sleep(600)


@needs_proc
def test_silence_is_our_error_and_ends_the_tasks(ray, tmp_path):
    results = RayCluster(1, timeout=20).run(silent, [tmp_path / "left"])
    assert next(results) == (0, 1)
    results.close()
    wait_until(lambda: not is_running(int((tmp_path / "left").read_text())), limit=2)
    with pytest.raises(WorkerError, match=r"no task on Ray has given a sign for 8 seconds: .* raise timeout="):
        list(RayCluster(1, timeout=8).run(silent, [tmp_path / "silent"]))
    wait_until(lambda: not is_running(int((tmp_path / "silent").read_text())), limit=2)


def test_what_cannot_be_sent_is_named(ray):
    with pytest.raises(WorkerError, match="the template or the encoding cannot be sent to a worker of Ray"):
        list(RayCluster(1, timeout=60).run(lambda task: [task], [1]))
    with pytest.raises(WorkerError, match="a record cannot be sent to a worker of Ray"):
        list(in_order(RayCluster(1, timeout=60).run(variables, [lambda: 0])))


# Without Ray


class Mine:
    name, fingerprint = "mine", "0" * 64

    def documents(self, record):
        return [Document([Segment(record["text"])])]


def test_what_the_script_itself_defines_is_refused(tmp_path, source, monkeypatch):
    monkeypatch.setattr(work, "library", lambda: None)
    monkeypatch.setattr(Mine, "__module__", "__main__")
    message = "the template is a Mine, which the script itself defines, and the workers of engine='ray' do not run"
    with pytest.raises(InputError, match=message):
        prepare(source, tmp_path / "s", engine="ray", **OPTIONS | {"template": Mine()})


def test_without_the_extra_it_is_named(tmp_path, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r"engine is 'ray', and the package ray is not here: pip install 'fastcollate\[ray\]'"
    with pytest.raises(WorkerError, match=message):
        prepare(source, tmp_path / "s", engine="ray", **OPTIONS)
    assert not (tmp_path / "s").exists()


class Elsewhere(ThisProcess):
    """An engine whose workers have another disk."""

    def __init__(self, *_):
        pass

    def run(self, do, given):
        for number, item in super().run(do, given):
            if isinstance(item, Finished):
                for file in do.target.drafts.directory.glob("task-*"):
                    file.unlink()
            yield number, item


def test_an_output_that_nodes_do_not_share_is_told(tmp_path, source, monkeypatch):
    monkeypatch.setattr(work, "library", lambda: None)
    monkeypatch.setattr(work, "RayCluster", Elsewhere)
    with pytest.raises(StorageError, match=r"another node has written it, and it is not here: .* nodes share"):
        prepare(source, tmp_path / "s", engine="ray", **OPTIONS)
    assert not (tmp_path / "s").exists()


def test_a_client_of_ray_is_refused(tmp_path, source, monkeypatch):
    pytest.importorskip("ray", reason="pip install 'fastcollate[ray]'")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(WorkerError, match=r"a client of Ray cannot read what tasks have made .*ray job submit"):
        prepare(source, tmp_path / "s", engine="ray", **OPTIONS)


# A Ray of its own

PROGRAM = """
import sys
from fastcollate.cli.main import main
from fastcollate.pretokenize.parts import tasks
tasks._LEAST_BYTES = 4096
sys.exit(main(sys.argv[1:]))
"""


@needs_proc
def test_ctrl_c_ends_tasks_and_ray_and_the_same_command_goes_on(ray, tmp_path):
    source, out = write_source(tmp_path / "long.jsonl", 12_000), tmp_path / "s"
    options = ["--encoding", "bytes", "--template", "text", "--on-error", "skip", "--keep-columns", "kind"]
    argv = [sys.executable, "-c", PROGRAM, "prepare", str(source), "--output", str(out), *options, "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(
        [*argv, "--engine", "ray", "--workers", "2"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        wait_until(lambda: finished(out) > 20, limit=90)
        kill_one_at_work(process.pid)
        before = finished(out)
        wait_until(lambda: finished(out) > before + 20, limit=60)
        started = [pid for pid, _ in descendants(process.pid)]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, b"")
    assert said.splitlines()[-1] == b"fastcollate: interrupted"
    assert len(started) > 4
    wait_until(lambda: not [pid for pid in started if is_running(pid)], limit=5)
    assert not [name for name in contents(out) if name.endswith(".tmp")]
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    prepare(source, tmp_path / "whole", workers=1, **OPTIONS)
    assert contents(out) == contents(tmp_path / "whole")


def finished(out):
    """How many tasks the journal tells of."""
    try:
        return (out / "journal.jsonl").read_bytes().count(b"\n") - 1
    except FileNotFoundError:
        return 0
