"""What `fastcollate prepare` tells of how far it is, and at the end."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from commands import run, succeed

ROOT = Path(__file__).parents[2]
OPTIONS = ("--encoding", "bytes", "--template", "prompt_completion", "--on-error", "skip", "--max-length", "20")
SPENT = r"starting _ s, reading _ s, encoding _ s, writing _ s, finishing _ s"


@pytest.fixture
def source(tmp_path):
    """Six records: two as they should be, one too long, two without a target, one that is none."""
    path = tmp_path / "data.jsonl"
    records = [
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "completion": "b" * 50},
        {"prompt": "a" * 50, "completion": "b"},
        {"prompt": "a", "completion": ""},
        {"prompt": "a"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def numbers_out(text):
    """The text, with each time, share and size as _."""
    text = re.sub(r"\d+\.\d\d(?= s\b|\n)", "_", text)
    return re.sub(r"busy( +).*", r"busy\1_", text)


def test_the_summary(source, tmp_path):
    code, out, err = run("prepare", source, "--output", tmp_path / "s", *OPTIONS, "--workers", 1)
    assert code == 0
    assert err.count("warning: ") == err.count("\n")
    assert numbers_out(out).startswith(
        "read          6\n"
        "records       3\n"
        "tokens        26 (bytes, template prompt_completion)\n"
        "rejected      3 (1 empty, 1 missing_field, 1 unsupervised), each a line of rejected.jsonl there\n"
        "truncated     1\n"
        "dropped       none\n"
        "unsupervised  1 left out\n"
        f"spent on      {SPENT}\n"
        "busy          _\n"
        f"path          {tmp_path}/s (1 shard, "
    )
    assert re.search(r"\nbusy +\d+% of 1 core \(of each process: \d+%\), [\d.]+ k?B/s\n", out)


def test_the_summary_of_what_was_dropped_and_added(source, tmp_path):
    run("prepare", source, "--output", tmp_path / "s", *OPTIONS)
    options = ("--append", "--overlong", "drop", "--unsupervised", "keep")
    _, out, _ = run("prepare", source, "--output", tmp_path / "s", *OPTIONS, *options)
    assert "\nrecords       6, 3 of them added\n" in out
    assert "\nrejected      3 (2 overlong, 1 missing_field), each" in out
    assert "\ntruncated     none\ndropped       2 overlong\nunsupervised  1 kept\n" in out


def test_the_account_for_machines(source, tmp_path):
    code, out, _ = run("prepare", source, "--output", tmp_path / "s", *OPTIONS, "--json", "--workers", 1)
    account = json.loads(out)["account"]
    assert (code, out.count("\n")) == (0, 1)
    seconds = account.pop("seconds")
    assert list(seconds) == ["starting", "reading", "encoding", "writing", "finishing", "tasks"]
    assert seconds["tasks"] >= seconds["encoding"] >= 0
    assert account.pop("bytes_per_second") > 0
    assert len(account.pop("shares")) == 1
    assert account == {
        "read": 6,
        "read_before": 0,
        "written": 3,
        "tokens": 26,
        "rejected": {"empty": 1, "missing_field": 1, "unsupervised": 1},
        "truncated": 1,
        "dropped": 0,
        "unsupervised": 1,
        "unsupervised_kept": 0,
        "cores": 1,
    }


def test_quiet_says_warnings_and_errors_alone(source, tmp_path):
    options = ("--encoding", "bytes", "--on-error", "skip", "--max-length", 20, "--quiet")
    code, out, err = run("prepare", source, "--output", tmp_path / "s", *options)
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert [line for line in lines if not line.startswith("fastcollate: warning: in 1 record of 3 ")] == []
    assert lines
    code, out, err = run("prepare", source, "--output", tmp_path / "s", *options)
    assert (code, out) == (1, "")
    assert err.endswith(
        "already holds a store: remove it or choose another directory, or add to it (append=True, --append)\n"
    )


def test_quiet_and_json_is_the_json(tmp_path):
    source = tmp_path / "good.jsonl"
    source.write_text('{"prompt": "a", "completion": "b"}\n')
    out = succeed("prepare", source, "--output", tmp_path / "s", "--encoding", "bytes", "--quiet", "--json")
    assert json.loads(out)["account"]["read"] == 1


def on_a_terminal(*argv):
    """What is written to a terminal of 80 columns by stdout and stderr together."""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "fastcollate", *map(str, argv)]
    process = subprocess.Popen(argv, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    found = b""
    while True:
        try:
            if not (more := os.read(screen, 65536)):
                break
        except OSError:  # what Linux answers when the last writer is gone
            break
        found += more
    os.close(screen)
    assert process.wait() == 0
    return found.decode()


def test_a_terminal_has_notes_then_the_bar_then_the_summary(source, tmp_path):
    found = on_a_terminal(
        "prepare", source, "--output", tmp_path / "s", "--encoding", "bytes", "--on-error", "skip"
    )
    note, bar, summary = (found.index(text) for text in ("told by", " records, ", "read     "))
    assert note < bar < summary
    drawn = [line for line in re.split(r"[\r\n]", found) if " records, " in line]
    assert drawn[0].startswith("  0% |      | 4 records, 110 tokens, 2 rejected, ")
    assert max(map(len, drawn)) <= 80


def test_quiet_leaves_a_terminal_alone(tmp_path):
    source = tmp_path / "good.jsonl"
    source.write_text('{"prompt": "a", "completion": "b"}\n')
    assert on_a_terminal("prepare", source, "--output", tmp_path / "s", "--encoding", "bytes", "--quiet") == ""
