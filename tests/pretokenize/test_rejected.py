"""`rejected.jsonl` tells each file apart, and nothing of the machine; a pair is one record."""

import json

import numpy as np
import pytest

from fastcollate import prepare
from fastcollate.sources.paths import labels
from fastcollate.tokenizers import Tokenizer


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Files of one name in two folders, each with one good and one bad line, and the folder that one works in."""
    for folder in ("data/a", "data/b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.jsonl").write_text('{"text": "fine"}\n{"text": 1}\nno\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


SOURCES = {
    "folder": ("data", ["a/x.jsonl", "b/c/x.jsonl"]),
    "pattern": ("data/*/**/x.jsonl", ["a/x.jsonl", "b/c/x.jsonl"]),
    "file": ("data/a/x.jsonl", ["x.jsonl"]),
    "files": (["data/a/x.jsonl", "data/b/c/x.jsonl"], ["a/x.jsonl", "b/c/x.jsonl"]),
    "folders": (["data/a", "data/b"], ["x.jsonl", "c/x.jsonl"]),
}


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("kind", SOURCES)
def test_a_rejected_record_names_its_file_from_the_argument_on(data, kind, absolute):
    given, names = SOURCES[kind]
    if absolute:
        given = [str(data / path) for path in given] if isinstance(given, list) else str(data / given)
    store = prepare(given, data / "store", encoding="bytes", template="text", on_error="skip", workers=1)
    text = (data / "store/rejected.jsonl").read_text()
    found = [(line["file"], line["row"], line["reason"]) for line in map(json.loads, text.splitlines())]
    assert sorted(found) == sorted(
        row for name in names for row in [(name, 1, "not_string"), (name, 2, "not_json")]
    )
    assert absolute or str(data) not in text
    assert len(store) == len(names)


def test_an_address_is_named_without_what_it_asks_for():
    one, two = "https://a.org/x/d.jsonl?token=secret", "https://b.org/d.jsonl"
    assert labels({one: one}) == {one: "d.jsonl"}
    assert labels({one: one, two: two}) == {one: "a.org/x/d.jsonl", two: "b.org/d.jsonl"}


PAIR = {"prompt": "Q", "chosen": "good", "rejected": "bad"}


@pytest.mark.parametrize(
    ("chosen", "rejected", "options", "reason"),
    [
        ("", "", {}, "empty"),
        ("a" * 50, "b" * 50, {"overlong": "drop", "max_length": 20}, "overlong"),
        ("a" * 50, "", {"overlong": "drop", "max_length": 20}, "overlong"),
        ("a", "", {}, "empty"),
    ],
)
def test_a_pair_is_left_out_as_one_record(tmp_path, chosen, rejected, options, reason):
    bad = {"prompt": "Q", "chosen": chosen, "rejected": rejected}
    store = prepare([PAIR, bad], tmp_path / "s", encoding="bytes", **options)
    assert (len(store), store.manifest.rejected) == (2, {reason: 1})
    assert len((tmp_path / "s/rejected.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("answers", [("no", "bad"), ("good", "no"), ("no", "no")])
def test_of_a_pair_that_cannot_be_encoded_no_half_is_kept(tmp_path, answers):
    def encode(text):
        return [257] if "no" in text else list(text.encode())

    lengths = np.ones(257, np.int64)
    tokenizer = Tokenizer.from_callable(encode, vocab_size=257, eot_token_id=256, byte_lengths=lengths)
    bad = {"prompt": "Q", "chosen": answers[0], "rejected": answers[1]}
    store = prepare([PAIR, bad, PAIR], tmp_path / "s", encoding=tokenizer, on_error="skip", workers=1)
    assert (len(store), store.manifest.rejected) == (4, {"not_encodable": 1})


def test_a_value_that_has_no_json_is_named_by_its_type(tmp_path):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    bad = {"text": 5, "n": 10**5000, "deep": deep, "kept": {"a": 1}, 3: b"x"}
    prepare([{"text": "a"}, bad], tmp_path / "s", encoding="bytes", on_error="skip", workers=1)
    record = json.loads((tmp_path / "s/rejected.jsonl").read_text())["record"]
    assert record == {"text": 5, "n": "<int>", "deep": "<list>", "kept": {"a": 1}, "3": "<bytes>"}
