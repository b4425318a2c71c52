"""The command line as a program: its help, its exit codes, how it ends."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
import tomllib
from pathlib import Path

import pytest
from commands import ALPACA, fail, run, succeed

import fastcollate
from fastcollate import TokenStore
from fastcollate.cli.main import VERBS

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fastcollate"]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTHONUNBUFFERED", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"instruction": "Say hi.", "output": "Hi."}\n' * 3)
    return path


@pytest.fixture
def store(source, tmp_path):
    succeed("prepare", source, "--output", tmp_path / "store", *ALPACA)
    return tmp_path / "store"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    out = succeed(verb, "--help")
    assert f"example:\n  fastcollate {verb}" in out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_lists_the_verbs():
    out = succeed("--help")
    assert all(f"    {verb:9} {summary}\n" in out for verb, summary in VERBS.items())
    assert "example:\n  fastcollate demo\n" in out


def test_without_a_verb_help_goes_to_stderr():
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("usage: fastcollate [-h]")


def test_the_version_is_that_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert fastcollate.__version__ in {project["version"], "0+unknown"}  # the other: a tree that is not installed
    assert succeed("--version") == f"fastcollate {fastcollate.__version__}\n"


def test_python_m_is_the_command():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"fastcollate {fastcollate.__version__}\n", "")
    done = subprocess.run([*COMMAND, "info", "/no/such/store"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fastcollate: ")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["bogus"], "argument VERB: invalid choice: 'bogus'"),
        (["info"], "the following arguments are required: DIR"),
        (["prepare", "a"], "the following arguments are required: --output"),
        (
            ["prepare", "a", "--output", "b", "--fields", "text"],
            "argument --fields: 'text' is no list of field=key",
        ),
        (["prepare", "a", "--output", "b", "--engine", "slurm"], "argument --engine: invalid choice: 'slurm'"),
        (["show", "a", "--record", "x"], "argument --record: invalid int value: 'x'"),
    ],
)
def test_usage_errors_exit_with_2(argv, message):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert f"error: {message}" in err


def test_an_error_stays_one_line_whatever_the_path(tmp_path):
    assert "odd name\\x1b" in fail("info", tmp_path / "odd\nname\x1b")


def test_no_verb_but_demo_imports_torch(source, tmp_path):
    path = str(tmp_path / "new")
    lines = [
        ["--help"],
        ["prepare", str(source), "--output", path, *ALPACA],
        *([verb, path] for verb in ("info", "show", "audit", "verify")),
    ]
    program = (
        "import sys\nfrom fastcollate.cli.main import main\n"
        f"assert [main(argv) for argv in {lines!r}] == [0] * 6\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


# Endings


def test_progress_is_for_terminals(source, tmp_path):
    argv = [*COMMAND, "prepare", str(source), *ALPACA, "--output"]
    piped = subprocess.run([*argv, str(tmp_path / "a")], capture_output=True, check=True)
    assert piped.stderr == b""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    subprocess.run([*argv, str(tmp_path / "b")], stdout=subprocess.DEVNULL, stderr=terminal, check=True)
    assert b" records" in os.read(screen, 65536)
    os.close(terminal)
    os.close(screen)


@pytest.mark.parametrize("argv", [["--help"], ["info", "STORE"], ["show", "STORE", "--json"]])
def test_a_closed_pipe_is_no_traceback(store, argv):
    reader, writer = os.pipe()
    os.close(reader)
    argv = [str(store) if word == "STORE" else word for word in argv]
    done = subprocess.run([*COMMAND, *argv], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(store):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "info", store], stdout=full, stderr=subprocess.PIPE, check=False)
    message = b"fastcollate: the output cannot be written (No space left on device)\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_nothing_behind(tmp_path, workers):
    source, path = tmp_path / "large.jsonl", tmp_path / "store"
    source.write_text('{"text": "some text to encode"}\n' * 400_000)
    options = [
        "--template",
        "text",
        "--encoding",
        "bytes",
        "--records-per-shard",
        "1000",
        "--workers",
        str(workers),
    ]
    argv = [*COMMAND, "prepare", str(source), "--output", str(path), *options]
    with subprocess.Popen(
        argv,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not (path / "task-00000-00000.arrow").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err.endswith(b"fastcollate: interrupted\n")
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_what_is_finished_and_the_same_command_goes_on(tmp_path, number):
    source, path = tmp_path / "large.jsonl", tmp_path / "store"
    source.write_text('{"text": "some text to encode"}\n' * 1_500_000)
    argv = [*COMMAND, "prepare", str(source), "--output", str(path), "--encoding", "bytes", "--workers", "1"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 30
        while not (path / "journal.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, number)
        err = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert re.search(rb"store: [1-4] of 6 parts are finished and kept: the same command goes on", err)
    done = subprocess.run(argv, capture_output=True, check=True)
    assert re.search(rb"store: [1-4] of 6 parts are finished already", done.stderr)
    store = TokenStore(path, verify="full")
    assert (len(store), len(store.manifest.shards)) == (1_500_000, 6)
