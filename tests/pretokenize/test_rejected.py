"""`rejected.jsonl` tells each file apart, and nothing of the machine."""

import json

import pytest

from fastcollate import prepare
from fastcollate.sources.paths import labels


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
