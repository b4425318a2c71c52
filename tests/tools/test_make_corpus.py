"""`tools/make_corpus.py`: corpora that are functions of their kind, size and seed, for one version of NumPy."""

import json
import re

import numpy as np
import pytest

from benchmarks.harness.corpora import DISTRIBUTIONS, chunks_of, instructions, lengths_of
from fastcollate import TokenStore
from tools import make_corpus

CHUNK = (1 << 25) // 65_536  # records of a chunk of very long ones, by the rule in corpora.py


def make(tmp_path, *words, name="store"):
    assert make_corpus.main([*map(str, words[:2]), str(tmp_path / name), *map(str, words[2:])]) == 0
    return TokenStore(tmp_path / name)


def fail(capsys, *words):
    """The line that says why it failed."""
    assert make_corpus.main([str(word) for word in words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("make_corpus: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("make_corpus: ").rstrip("\n")


@pytest.mark.parametrize("kind", list(DISTRIBUTIONS))
def test_lengths_are_those_of_the_kind(tmp_path, kind):
    store = make(tmp_path, kind, 600)
    mu, sigma, longest = DISTRIBUTIONS[kind]
    assert len(store) == 600
    assert store.lengths.min() >= 8
    assert store.lengths.max() <= longest
    assert np.median(store.lengths) == pytest.approx(np.exp(mu), rel=4 * sigma / 600**0.5)
    assert store.lengths.tolist() == lengths_of(kind, 600).tolist()


def test_the_same_words_make_the_same_bytes_and_another_seed_makes_others(tmp_path):
    first, again = (make(tmp_path, "short", 500, name=name) for name in ("a", "b"))
    other = make(tmp_path, "short", 500, "--seed", 1, name="c")
    assert first.fingerprint == again.fingerprint
    assert other.fingerprint != first.fingerprint
    assert other.lengths.tolist() != first.lengths.tolist()


def test_a_larger_corpus_begins_with_the_smaller_one():
    few, many = list(chunks_of("very-long", CHUNK + 3)), list(chunks_of("very-long", 2 * CHUNK))
    assert [len(chunk) for chunk in few] == [CHUNK, 3]
    assert [len(chunk) for chunk in many] == [CHUNK, CHUNK]
    assert few[0].values.tolist() == many[0].values.tolist()
    assert [row.tolist() for row in few[1]] == [many[1][i].tolist() for i in range(3)]
    assert lengths_of("very-long", CHUNK + 3).tolist() == lengths_of("very-long", 2 * CHUNK)[: CHUNK + 3].tolist()


def test_either_layout_holds_the_same_records(tmp_path):
    arrow, npy = (make(tmp_path, "short", 50, "--layout", name, name=name) for name in ("arrow", "npy"))
    assert npy.manifest.layout == "npy"
    assert [row.tolist() for row in npy] == [row.tolist() for row in arrow]


def test_it_says_what_it_made(tmp_path, capsys):
    store = make(tmp_path, "short", 50)
    printed = capsys.readouterr()
    assert printed.err == ""  # progress is for terminals
    assert re.fullmatch(
        rf"{tmp_path / 'store'}: 50 records, {store.num_tokens:,} tokens, \d[\d.]* kB\n", printed.out
    )


def test_errors_are_one_line(tmp_path, capsys):
    assert fail(capsys, "short", 0, tmp_path / "a") == "RECORDS is 0: it must be at least 1"
    assert fail(capsys, "short", 1, tmp_path / "a", "--seed=-1") == "--seed is -1: it must be at least 0"
    assert "are free there; ask for fewer records or another disk" in fail(capsys, "short", 10**15, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    assert str(tmp_path / "a") in fail(capsys, "short", 10, tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine.txt"]


def test_interrupted_it_leaves_no_store(tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.harness.corpora.chunks_of", stop)
    for path in (tmp_path / "store", tmp_path / "new" / "store"):
        assert make_corpus.main(["short", "10", str(path)]) == 130
        assert capsys.readouterr().err == "make_corpus: interrupted; no store is left behind\n"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["new"]


def test_instructions_are_records_and_the_texts_they_become():
    records, texts = instructions(3)
    assert json.dumps(records) == json.dumps(instructions(5)[0][:3])
    for record, text in zip(records, texts, strict=True):
        assert text.endswith(f"### Response:\n{record['output']}")
        assert f"### Instruction:\n{record['instruction']}" in text
