"""Token files of other programs on the command line, and stores as such files."""

import json

import numpy as np
import pytest
from commands import fail, run, succeed
from stores import write_store

from fastcollate import TokenStore, open_corpus

STREAM = ("--dtype", "uint16", "--eot-token-id", "256")


@pytest.fixture
def stream(tmp_path):
    """40 documents that read `hello`, each with its end."""
    tokens = [*map(ord, "hello"), 256] * 40
    np.array(tokens, np.uint16).tofile(tmp_path / "train.bin")
    return tmp_path / "train.bin"


def test_info_says_what_other_files_hold(stream):
    facts = json.loads(succeed("info", stream, *STREAM, "--json"))
    assert (facts["format"], facts["records"], facts["tokens"]) == ("bare tokens", 40, 240)
    assert (facts["dtype"], facts["bytes"], facts["files"], facts["columns"]) == ("uint16", 480, 1, [])
    assert facts["fingerprint"] == open_corpus(stream, dtype="uint16", eot_token_id=256).fingerprint
    text = succeed("info", stream, *STREAM)
    for line in ("format       bare tokens, uint16", "end of text  256", "records      40", "left out     none"):
        assert line in text
    assert "has no header that says what it is: name the dtype" in fail("info", stream)


@pytest.mark.parametrize("size", [("--batch-size", "8"), ("--pack", "64")])
def test_plan_counts_their_batches(stream, size):
    facts = json.loads(succeed("plan", stream, *STREAM, *size, "--json"))
    assert (facts["records"], facts["tokens"]) == (40, 240)


def test_bench_runs_on_them(stream):
    facts = json.loads(succeed("bench", stream, *STREAM, "--batch-size", "8", "--json"))
    assert (facts["records"], facts["tokens"]) == (40, 240)
    assert facts["loops"]["padded"]["tokens"] == facts["loops"]["plain_loop"]["tokens"]


def test_show_decodes_a_record_by_the_encoding_that_is_named(stream):
    text = succeed("show", stream, *STREAM, "--record", "39", "--encoding", "bytes")
    assert text.startswith("record 39 of 40: 6 tokens\n")
    assert "hello" in text
    facts = json.loads(succeed("show", stream, *STREAM, "--encoding", "bytes", "--json"))
    assert facts["source_row"] is None
    assert facts["parts"][0]["kind"] == "text"
    assert "does not say what made its ids: name it by --encoding" in fail("show", stream, *STREAM)


def test_show_tells_targets_by_their_labels(tmp_path):
    np.array([*map(ord, "abcd")], np.uint16).tofile(tmp_path / "a.ds")
    np.array([4], np.uint64).tofile(tmp_path / "a.ds.index")
    (tmp_path / "a.ds.loss").write_bytes(bytes([0, 0, 1, 1]))
    facts = json.loads(succeed("show", tmp_path / "a.ds", "--encoding", "bytes", "--json"))
    assert [(part["kind"], part["text"]) for part in facts["parts"]] == [("prompt", "ab"), ("response", "cd")]


def test_verify_is_for_stores(tmp_path, stream):
    for path in (export_of(tmp_path), stream):
        message = fail("verify", path)
        assert f"{path} is no store, whose files `verify` compares with the hashes of their manifest" in message


def export_of(tmp_path):
    write_store(tmp_path / "small", [3, 2])
    succeed("export", tmp_path / "small", "--format", "megatron", "--output", tmp_path / "m")
    return tmp_path / "m"


def test_export_makes_what_others_read(tmp_path):
    write_store(tmp_path / "store", [3, 1, 4])
    code, out, err = run("export", tmp_path / "store", "--format", "megatron", "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert f"next: --data-path {tmp_path}/out/text_document" in out
    facts = json.loads(
        succeed("export", tmp_path / "store", "--format", "huggingface", "--output", tmp_path / "hf", "--json")
    )
    assert (facts["records"], facts["tokens"], facts["left_out"]) == (3, 8, [])
    rows = [row.tolist() for row in TokenStore(tmp_path / "store")]
    for place in ("out", "hf"):
        assert [row.tolist() for row in open_corpus(tmp_path / place)] == rows
    message = fail("export", tmp_path / "store", "--format", "megatron", "--output", tmp_path / "out")
    assert "already holds 'text_document.bin'" in message
    assert run("export", tmp_path / "store", "--format", "mds", "--output", tmp_path / "x")[0] == 2
