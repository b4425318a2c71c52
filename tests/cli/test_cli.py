"""The verbs: what a person sees, and what a program reads."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from commands import ALPACA, PREAMBLE, fail, succeed
from hypothesis import given
from hypothesis import strategies as st

from fastcollate import Ragged, StoreWriter, TokenStore
from fastcollate.reports import lengths

pytestmark = pytest.mark.usefixtures("plain_terminal")


@pytest.fixture
def store(source, tmp_path):
    path = tmp_path / "store"
    succeed("prepare", source, "--output", path, *ALPACA, "--layout", "npy")
    return path


# info


def test_info_shows_the_store_and_its_lengths(store):
    size = sum(file.stat().st_size for file in store.glob("shard-*"))
    bar, none = "█" * 57, " " * 57
    assert succeed("info", store) == (
        f"path         {store}\n"
        "encoding     bytes, 257 tokens, end 256\n"
        "template     alpaca\n"
        "layout       npy, uint16\n"
        "records      3\n"
        "tokens       471\n"
        "shards       1\n"
        f"on disk      {size / 1000:.2f} kB\n"
        "lengths      min 151, median 158, mean 157.0, p99 162, max 162\n"
        "shuffle      every record alone by default\n"
        "rejected     none\n"
        f"fingerprint  {TokenStore(store).fingerprint}\n"
        "\n"
        "   tokens  3 records\n"
        f"150 - 151  {bar}  1   33.3 %\n"
        f"152 - 153  {none}  0    0.0 %\n"
        f"154 - 155  {none}  0    0.0 %\n"
        f"156 - 157  {none}  0    0.0 %\n"
        f"158 - 159  {bar}  1   33.3 %\n"
        f"160 - 161  {none}  0    0.0 %\n"
        f"162 - 163  {bar}  1   33.3 %\n"
    )


def test_info_for_machines(store):
    found = json.loads(succeed("info", store, "--json"))
    assert found["lengths"] == {"min": 151, "median": 158, "mean": 157.0, "p99": 162, "max": 162}
    assert [row for row in found["histogram"] if row[2]] == [[150, 151, 1], [158, 159, 1], [162, 163, 1]]
    assert (found["records"], found["tokens"], found["vocabulary"], found["rejected"]) == (3, 471, 257, {})


rows_of_lengths = st.lists(st.integers(1, 10) | st.integers(1, 5000), min_size=1, max_size=300)


@given(rows_of_lengths, st.integers(0, 100))
def test_percentiles_are_those_of_the_records(rows, percent):
    expected = np.percentile(rows, percent, method="inverted_cdf")
    assert lengths.percentile(*np.unique(rows, return_counts=True), percent) == expected


@given(rows_of_lengths)
def test_the_histogram_has_every_record_once_and_fits_a_screen(rows):
    bins = lengths.histogram(*np.unique(rows, return_counts=True))
    assert len(bins) <= 11
    assert [count for _, _, count in bins] == [sum(a <= n <= b for n in rows) for a, b, _ in bins]
    assert sum(count for _, _, count in bins) == len(rows)
    assert all(stop + 1 == start for (_, stop, _), (start, _, _) in pairwise(bins))


def test_no_line_is_wider_than_the_terminal(store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, histogram = succeed("info", store).split("\n\n")
    assert max(map(len, histogram.splitlines())) == 60


# show


def test_show_marks_prompt_and_response(store):
    assert succeed("show", store, "--record", 1) == (
        "record 1 of 3: 162 tokens, 18 of them the response, from row 1 of the source\n"
        "\n"
        "--- prompt, 144 tokens ---\n"
        f"{PREAMBLE}\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n"
        "--- response, 18 tokens ---\n"
        "\n\n### Response:\n3⟦<|endoftext|>⟧\n"
    )


def test_show_for_machines(store):
    prompt, response = f"{PREAMBLE}\n\n### Instruction:\nSay hi.", "\n\n### Response:\nHi.<|endoftext|>"
    assert json.loads(succeed("show", store, "--json")) == {  # record 0 by default
        "path": str(store),
        "record": 0,
        "tokens": 151,
        "source_row": 0,
        "parts": [
            {"kind": "prompt", "start": 0, "stop": 131, "text": prompt, "role": None, "weight": 0.0},
            {"kind": "response", "start": 131, "stop": 151, "text": response, "role": None, "weight": 1.0},
        ],
    }


@pytest.fixture
def write(tmp_path):
    """A one-record store of bytes, with these spans."""

    def write(text, spans):
        path = tmp_path / "written"
        with StoreWriter(path, encoding="bytes") as writer:
            spans = None if spans is None else Ragged.from_rows([spans], np.uint32)
            writer.append(Ragged.from_rows([list(text.encode())]), spans=spans)
        return path

    return write


def test_show_tells_every_turn_apart(write):
    path = write("Q1A1Q2A2", [2, 4, 6, 8])
    parts = json.loads(succeed("show", path, "--json"))["parts"]
    assert [(part["kind"], part["text"]) for part in parts] == [
        ("prompt", "Q1"),
        ("response", "A1"),
        ("prompt", "Q2"),
        ("response", "A2"),
    ]


def test_a_store_without_spans_has_no_prompt(write):
    expected = "record 0 of 1: 5 tokens, from row 0 of the source\n\n--- text, 5 tokens ---\nhello\n"
    assert succeed("show", write("hello", None)) == expected


@pytest.mark.parametrize("record", [3, -1])
def test_a_record_out_of_range_is_an_error(store, record):
    message = fail("show", store, "--record", record)
    assert message == f"{store} has no record {record}: it has 3 records, numbered from 0 to 2"


def test_a_terminal_gets_colours_unless_it_asks_for_none(write, monkeypatch):
    path = write("Q: a\nb\nA", [7, 8])
    _, text = succeed("show", path, is_terminal=True).split("\n\n")
    assert text == "\x1b[2mQ: a\x1b[0m\n\x1b[2mb\x1b[0m\n\x1b[32mA\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert succeed("show", path, is_terminal=True) == succeed("show", path)


def test_text_cannot_steer_the_terminal(write):
    out = succeed("show", write("\x1b[2J\ttab\r\u202e", [0, 3]))
    assert "\x1b" not in out
    assert "\\x1b[2\n" in out
    assert "J\ttab\\r\\u202e\n" in out


# verify


def test_verify_says_ok(store):
    size = sum(file.stat().st_size for file in store.glob("shard-*"))
    assert re.fullmatch(rf"ok: 7 files, {size / 1000:.2f} kB, \d+\.\d\d s\n", succeed("verify", store))
    found = json.loads(succeed("verify", store, "--json"))
    assert (found["ok"], found["files"], found["bytes"]) == (True, 7, size)
    assert found["fingerprint"] == TokenStore(store).fingerprint


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_verify_names_the_file_that_changed(store, json_flag):
    path = store / "shard-00000.input_ids.npy"
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert fail("verify", store, *json_flag).startswith(f"{path} has changed since it was written")


@pytest.mark.parametrize("verb", ["info", "show", "audit", "verify"])
def test_a_directory_without_a_store_is_an_error(tmp_path, verb):
    assert fail(verb, tmp_path).startswith(f"{tmp_path} holds no store")
    assert fail(verb, tmp_path / "none").startswith(f"{tmp_path}/none is not a directory")
