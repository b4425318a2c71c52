"""`fastcollate merge`: what it says, and how it ends."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from commands import fail, run, succeed
from full_records import made, write_full

from fastcollate import TokenStore

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("plain_terminal")


@pytest.fixture
def parts(tmp_path):
    return [
        write_full(tmp_path / "a", made(20), rejected=["empty"]),
        write_full(tmp_path / "b", made(11), template="other"),
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a whole"


def test_merge_says_what_it_made_and_what_comes_next(parts, path):
    out = succeed("merge", *(part.path for part in parts), "--output", path)
    store = TokenStore(path)
    assert re.sub(r"\d+\.\d\d\n", "0.12\n", out) == (
        "records   31\n"
        f"tokens    {parts[0].num_tokens + parts[1].num_tokens} (bytes, template none)\n"
        "rejected  1 (1 empty), each a line of rejected.jsonl there\n"
        f"path      {path} (6 shards, {store.manifest.bytes / 1000:.1f} kB)\n"
        "seconds   0.12\n"
        "\n"
        f"next: fastcollate info '{path}'\n"
    )


def test_merge_for_machines(parts, path):
    found = json.loads(succeed("merge", parts[0].path, parts[1].path, parts[0].path, "--output", path, "--json"))
    store = TokenStore(path)
    assert found.pop("seconds") > 0
    assert found == {
        "path": str(path),
        "stores": 3,
        "records": 51,
        "tokens": store.num_tokens,
        "rejected": {"empty": 2},
        "noted": {"straddled": 2},
        "encoding": "bytes",
        "template": None,
        "shards": 10,
        "bytes": store.manifest.bytes,
        "fingerprint": store.fingerprint,
    }
    assert json.loads(succeed("info", path, "--json"))["records"] == 51
    succeed("verify", path)


def test_what_cannot_be_joined_is_one_line(parts, path, tmp_path):
    write_full(tmp_path / "c", made(3), layout="npy")
    assert fail("merge", parts[0].path, tmp_path / "c", "--output", path) == (
        f"{tmp_path}/c cannot be joined with {tmp_path}/a: layout is 'arrow' in the one and 'npy' in the other: "
        "prepare one of them again in the layout of the other"
    )
    assert fail("merge", tmp_path / "none", "--output", path).startswith(f"{tmp_path}/none is not a directory")
    message = fail("merge", parts[0].path, parts[1].path, "--output", parts[1].path)
    assert message.startswith(f"{tmp_path}/b already holds a store: remove it or choose another directory")
    assert not path.exists()


def test_usage_errors_exit_with_2(path):
    for argv, message in ((["--output", path], "required: DIR"), (["a", "b"], "required: --output")):
        code, out, err = run("merge", *argv)
        assert (code, out) == (2, "")
        assert message in err


def test_a_terminal_is_told_what_takes_its_time(parts, path):
    argv = [sys.executable, "-m", "fastcollate", "merge", *(str(part.path) for part in parts), "--output"]
    silent = subprocess.run([*argv, path.with_name("silent")], cwd=ROOT, capture_output=True, check=True)
    assert silent.stderr == b""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    subprocess.run([*argv, path], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=terminal, check=True)
    assert re.match(rb"joining 2 stores, \d+\.\d kB \.\.\.\r\x1b\[K", os.read(screen, 65536))
    os.close(terminal)
    os.close(screen)


SLOWLY = """
import os, sys, time
from fastcollate.cli.main import main
link = os.link
os.link = lambda *given: (link(*given), print("linked", flush=True), time.sleep(60))
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_nothing_behind(parts, path):
    argv = [sys.executable, "-c", SLOWLY, "merge", *(str(part.path) for part in parts), "--output", str(path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"linked\n"
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"fastcollate: interrupted\n")
    assert time.monotonic() - begun < 20
    assert not path.exists()


def test_it_does_not_import_torch(parts, path):
    program = (
        "import sys\nfrom fastcollate.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\nassert 'torch' not in sys.modules"
    )
    argv = ["merge", *(str(part.path) for part in parts), "--output", str(path)]
    subprocess.run([sys.executable, "-c", program, *argv], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
