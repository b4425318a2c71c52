"""`tools/hops.py`: a line for each step of a record's journey, and moves that are counted as they happen."""

import re
import sys

import pytest

import fastcollate
from fastcollate import padded_collate
from tools import hops

STEPS = [
    "prepare",
    "TokenStore",
    "BucketedDataset",
    "PaddingCollator",
    "StreamLoader",
    "first batch",
    "state_dict",
]
STEPS += ["first rows", "PaddingCollator", "PackedDataset", "first packs", "a PackingCollator", "padded_collate"]


def test_every_step_has_one_line_of_numbers(capsys):
    assert hops.main(["--encoding", "bytes"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split("  ")[-1].strip() == "deepest stack"
    assert len(lines) == len(STEPS)
    for line, step in zip(lines, STEPS, strict=True):
        assert line.startswith(step)
        files, functions, moves, deepest = map(int, re.split(r"\s{2,}", line)[1:])
        assert 1 <= files <= functions
        assert files - 1 <= moves
        assert 1 <= deepest <= 40
    assert sys.getprofile() is None


def test_files_and_functions_are_named_when_asked_for(capsys):
    hops.main(["--encoding", "bytes", "--files", "--functions"])
    out = capsys.readouterr().out
    assert re.search(r"^    collate/\w+\.py, ", out, re.MULTILINE)
    assert re.search(r"^    collate/\w+\.py:\d+ padded_collate x 1$", out, re.MULTILINE)


def test_moves_are_counted_there_and_back(monkeypatch, tmp_path):
    monkeypatch.setattr(hops, "PACKAGE", f"{tmp_path}/")
    functions = {}
    for name, text in (("b", "def low(): pass"), ("a", "def high():\n    low(); low(); here()\ndef here(): pass")):
        exec(compile(text, str(tmp_path / f"{name}.py"), "exec"), functions)
    trace, _ = hops.watched(functions["high"])
    assert (trace.files, trace.moves, trace.deepest) == (["a.py", "b.py"], 4, 2)
    assert trace.functions == {"a.py:1 high": 1, "b.py:1 low": 2, "a.py:3 here": 1}


def test_a_step_that_fails_leaves_no_profiler(monkeypatch):
    with pytest.raises(fastcollate.CollateError):
        hops.watched(lambda: padded_collate([]))
    assert sys.getprofile() is None
