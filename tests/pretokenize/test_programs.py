"""Workers run nothing of the program that calls `prepare`, wherever it comes from; what it defines travels."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiktoken
from stores import contents

from fastcollate import PromptTemplate, prepare
from fastcollate.templates.fields import Part
from fastcollate.templates.segments import Document, Segment

ROOT = Path(__file__).parents[2]
RECORDS = [{"text": str(i)} for i in range(3000)]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


PROGRAM = """
import sys
from fastcollate import prepare
from fastcollate.pretokenize import work
work._ALONE_SECONDS = None
print("run once")
records = [{"text": str(i)} for i in range(3000)]
prepare(records, OUTPUT, encoding="bytes", template="text", workers=2)
"""
CELL = (
    "import sys; main = sys.modules['__main__']; main.__dict__.pop('__file__', None); exec(PROGRAM, main.__dict__)"
)


@pytest.mark.parametrize("door", ["script", "stdin", "command", "cell"])
def test_workers_do_not_run_the_callers_program(tmp_path, out, door):
    program = PROGRAM.replace("OUTPUT", repr(str(out)))
    (tmp_path / "script.py").write_text(program)
    arguments = {
        "script": [str(tmp_path / "script.py")],
        "stdin": ["-"],
        "command": ["-c", program],
        "cell": ["-c", CELL.replace("PROGRAM", repr(program))],
    }
    done = subprocess.run(
        [sys.executable, *arguments[door]],
        input=program if door == "stdin" else "",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "run once\n", "")
    prepare(RECORDS, tmp_path / "here", encoding="bytes", template="text", workers=1)
    assert contents(out) == contents(tmp_path / "here")


OWN_TEMPLATE = """
from fastcollate import prepare
from fastcollate.templates.segments import Document, Segment
class Shouted:
    name, fingerprint = "shouted", "0" * 64
    def documents(self, record):
        return [Document([Segment(record["text"].upper(), 1.0)])]
store = prepare([{"text": f"a{i}"} for i in range(3000)], OUTPUT, encoding="bytes", template=Shouted(), workers=2)
print(store.text(2999))
"""


@pytest.mark.parametrize("workers", [1, 2, None])
def test_a_template_that_the_script_defines_stays_in_its_process(out, workers):
    program = OWN_TEMPLATE.replace("OUTPUT", repr(str(out))).replace("workers=2", f"workers={workers}")
    command = [sys.executable, "-"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, input=program, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if workers == 2:
        assert (done.returncode, done.stdout) == (1, "")
        assert "which the script itself defines, and workers=2 processes do not run it" in done.stderr
    else:
        assert (done.returncode, done.stdout, done.stderr) == (0, "A2999<|endoftext|>\n", "")


def test_templates_and_encodings_of_ones_own_travel(tmp_path):
    template = PromptTemplate("two", (Part("{a}|"), Part("{b}", supervised=True, when="b"))).renamed({"a": "text"})
    ranks = {bytes([i]): i for i in range(256)} | {b"00": 256}
    encoding = tiktoken.Encoding(
        "own", pat_str="(?s:.+)", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 300}
    )
    for workers in (1, 2):
        prepare(
            RECORDS,
            tmp_path / str(workers),
            encoding=encoding,
            template=template,
            workers=workers,
            unsupervised="keep",
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_records_are_sent_as_they_are(tmp_path):
    """Whatever JSON can hold reaches the template of a worker."""
    record = {"text": "a", "more": [1, None, {"b": 2.5}], "wrong": float("inf")}
    (tmp_path / "data.jsonl").write_text(f"{json.dumps(record)}\n" * 1100)
    store = prepare(tmp_path / "data.jsonl", tmp_path / "s", encoding="bytes", template=Shown(), workers=2)
    assert store.text(1099) == f"{record}<|endoftext|>"


class Shown:
    name, fingerprint = "shown", "0" * 64

    def documents(self, record):
        return [Document([Segment(str(record), 1.0)])]


def test_the_same_bytes_come_whatever_the_hashes_of_strings_are(tmp_path):
    """More keys are not read than are counted apart, so that their order decides which are."""
    source = tmp_path / "data.jsonl"
    source.write_text(json.dumps({"text": "hi"} | {f"key{i}": 1 for i in range(80)}) + "\n")
    made = []
    for seed in ("1", "2"):
        call = f"prepare({str(source)!r}, {str(tmp_path / seed)!r}, encoding='bytes')"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", f"from fastcollate import prepare; {call}"],
            check=True,
            env=environment,
            capture_output=True,
        )
        made.append((tmp_path / seed / "manifest.json").read_bytes())
    assert made[0] == made[1]
    assert json.loads(made[0])["noted"]["unread:..."] == 80 - 64
