"""The demo: its corpus, its two loops, and what it says about them."""

import json
import tempfile
from statistics import median

import pytest
import torch
from commands import run, succeed

from fastcollate import EncodingError, prepare
from fastcollate.bench.loops import plain_collate
from fastcollate.bench.made_up import make_corpus


def test_the_corpus_is_a_function_of_its_seed():
    assert make_corpus(2000) == make_corpus(2000)
    assert make_corpus(100, seed=1) != make_corpus(100, seed=2)
    assert make_corpus(2000)[:100] == make_corpus(100)


def test_records_are_instructions_with_and_without_input():
    records = make_corpus(2000)
    assert {tuple(record) for record in records} == {("instruction", "input", "output")}
    assert all(record["instruction"] and record["output"] for record in records)
    assert 600 < sum(bool(record["input"]) for record in records) < 1400
    assert len({tuple(record.values()) for record in records}) > 1700
    assert not any("{" in text or "<|" in text for record in records for text in record.values())


def test_lengths_have_a_long_tail(tmp_path):
    lengths = prepare(make_corpus(2000), tmp_path / "store", encoding="bytes").lengths
    assert lengths.max() > 5 * median(lengths.tolist())
    assert lengths.mean() > median(lengths.tolist())


def test_in_gpt2_tokens_most_records_are_short_and_some_are_very_long(tmp_path):
    try:
        lengths = prepare(make_corpus(2000), tmp_path / "store", encoding="gpt2").lengths
    except EncodingError as error:
        pytest.skip(str(error))
    assert ((lengths >= 40) & (lengths <= 150)).mean() > 0.7
    assert 5 <= (lengths > 600).sum() <= 30


def test_the_plain_loop_makes_next_token_targets():
    inputs, targets = plain_collate([[1, 2, 3, 9], [4, 9]], 9, 1)
    assert torch.equal(inputs, torch.tensor([[1, 2, 3], [4, 9, 9]]))
    assert torch.equal(targets, torch.tensor([[2, 3, 9], [9, -100, -100]]))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A demo of 200 records on bytes, as where GPT-2 is out of reach; its temporary directory."""

    def prepare_offline(*args, encoding):
        if encoding == "gpt2":
            raise EncodingError("not here")
        return prepare(*args, encoding=encoding)

    monkeypatch.setattr("fastcollate.cli.demo.prepare", prepare_offline)
    monkeypatch.setattr("fastcollate.cli.demo._RECORDS", 800)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_numbers_agree_with_each_other(small):
    found = json.loads(succeed("demo", "--json"))
    plain, ours = found["plain"], found["fastcollate"]
    assert (found["encoding"], found["records"]) == ("bytes", 200)
    for lap in (plain, ours):
        assert lap["batches"] == 7
        assert lap["targets"] == found["tokens"] - 200  # a record's first token is no target
        assert lap["padding"] == 1 - lap["targets"] / lap["cells"]
        assert lap["tokens_per_second"] == lap["targets"] / lap["seconds"]
    assert plain["id_sum"] == ours["id_sum"]
    assert plain["cells"] > ours["cells"]
    assert found["ratio"] == ours["tokens_per_second"] / plain["tokens_per_second"]
    assert found["example"][-1]["text"].endswith("<|endoftext|>")
    assert list(small.iterdir()) == []


def test_people_get_a_table_and_an_example(small, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = succeed("demo").splitlines()
    assert lines[0] == "200 instruction records, made up here, in a store that is removed again"
    assert lines[2].startswith("  note      GPT-2's vocabulary is out of reach here, so bytes are the tokens")
    assert lines[6].split() == ["batches", "padding", "real", "tokens", "/", "s"]
    assert [line[2:13] for line in lines[7:9]] == ["plain loop ", "fastcollate"]
    assert lines[8].endswith("x")
    assert any(line.startswith("  --- prompt, ") for line in lines)
    assert any(line.startswith("  --- response, ") for line in lines)
    assert lines[-1] == "next: fastcollate prepare your-data.jsonl --output store"
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 100


def test_a_loop_that_delivers_something_else_is_an_error(small, monkeypatch):
    loop = "fastcollate.bench.loops.plain_collate"
    monkeypatch.setattr(loop, lambda rows, *rest: plain_collate(rows[1:], *rest))
    code, _, err = run("demo")
    assert code == 1
    assert "these must be equal" in err
    assert list(small.iterdir()) == []
