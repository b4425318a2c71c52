"""`fastcollate prepare`: what it says, and what reaches the function."""

import json
import re

import pytest
from commands import ALPACA, fail, succeed

from fastcollate import InputError, TokenStore
from fastcollate.pretokenize.account import Account

pytestmark = pytest.mark.usefixtures("plain_terminal")


def test_prepare_says_what_it_made_and_what_comes_next(source, tmp_path):
    path = tmp_path / "a store"
    out = succeed("prepare", source, "--output", path, *ALPACA)
    size = sum(file.stat().st_size for file in path.glob("shard-*"))
    out = re.sub(r"(spent on|busy)( +).*", r"\1\2...", out)
    assert re.sub(r"\d+\.\d\d\n", "0.12\n", out) == (
        "read          3\n"
        "records       3\n"
        "tokens        471 (bytes, template alpaca)\n"
        "rejected      none\n"
        "truncated     none\n"
        "dropped       none\n"
        "unsupervised  none\n"
        "spent on      ...\n"
        "busy          ...\n"
        f"path          {path} (1 shard, {size / 1000:.2f} kB)\n"
        "seconds       0.12\n"
        "\n"
        f"next: fastcollate info '{path}'\n"
    )


def test_prepare_counts_what_it_skipped(source, tmp_path):
    source.write_text(source.read_text() + 'nonsense\n{"instruction": "?"}\n{"output": "?"}\n')
    argv = [
        "prepare",
        source,
        "--output",
        tmp_path / "store",
        "--template",
        "alpaca",
        "--encoding",
        "bytes",
        "--on-error",
        "skip",
    ]
    said = "\nrejected      3 (2 missing_field, 1 not_json), each a line of rejected.jsonl there\n"
    assert said in succeed(*argv)


def test_prepare_for_machines(source, tmp_path):
    path = tmp_path / "store"
    argv = [
        "prepare",
        source,
        source,
        "--output",
        path,
        "--template",
        "alpaca",
        "--encoding",
        "bytes",
        "--records-per-shard",
        4,
        "--json",
    ]
    found = json.loads(succeed(*argv))
    assert found.pop("seconds") > 0
    assert found.pop("account")["read"] == 6
    assert found == {
        "path": str(path),
        "records": 6,
        "tokens": 942,
        "rejected": {},
        "noted": {},
        "encoding": "bytes",
        "template": "alpaca",
        "shards": 2,
        "bytes": sum(shard.stat().st_size for shard in path.glob("shard-*")),
        "fingerprint": TokenStore(path).fingerprint,
    }


def test_every_option_reaches_prepare(monkeypatch):
    seen = {}

    def prepare(source, output, **options):
        seen.update(source=source, output=output, **options)
        raise InputError("reached")

    monkeypatch.setattr("fastcollate.cli.prepare.prepare", prepare)
    options = (
        "--encoding cl100k_base --template text --fields text=body,b=c --max-length 9 --overlong drop --no-eot "
        "--format jsonl --unsupervised keep --train-on last --keep-columns a,b "
        "--layout npy --records-per-shard 7 --workers 3 --engine ray --timeout 9 --on-error skip "
        "--append --storage-options region=x"
    )
    assert fail("prepare", "a", "b*", "--output", "o", *options.split()) == "reached"
    assert isinstance(seen.pop("progress"), Account)
    assert seen == {
        "source": ["a", "b*"],
        "output": "o",
        "encoding": "cl100k_base",
        "template": "text",
        "fields": {"text": "body", "b": "c"},
        "format": "jsonl",
        "unsupervised": "keep",
        "train_on": "last",
        "response_marker": None,
        "prompt_marker": None,
        "keep_columns": ("a", "b"),
        "append_eot": False,
        "max_length": 9,
        "overlong": "drop",
        "layout": "npy",
        "records_per_shard": 7,
        "workers": 3,
        "engine": "ray",
        "timeout": 9,
        "on_error": "skip",
        "append": True,
        "storage_options": {"region": "x"},
    }


def test_markers_are_written_as_a_shell_passes_them_on(tmp_path):
    source = tmp_path / "hh.jsonl"
    pair = {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}
    source.write_text(json.dumps(pair) + "\n")
    options = [
        "--encoding",
        "bytes",
        "--json",
        "--response-marker",
        r"\n\nAssistant:",
        "--prompt-marker",
        r"\n\nHuman:",
    ]
    succeed("prepare", source, "--output", tmp_path / "s", *options)
    store = TokenStore(tmp_path / "s")
    learnt = [bytes(store[i][start:-1].tolist()) for i in range(2) for start, _ in store.spans(i).tolist()]
    assert learnt == [b" a", b" b"]


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "store"
    message = fail("prepare", tmp_path / "none.jsonl", "--output", path, *ALPACA)
    assert message == f"{tmp_path}/none.jsonl: no such file: check the path"
    assert not path.exists()


def test_a_directory_that_holds_something_else_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    message = fail("prepare", source, "--output", tmp_path / "mine", *ALPACA)
    assert message.startswith(f"{tmp_path}/mine already holds 'notes.txt': a store needs a directory of its own")
    assert (tmp_path / "mine/notes.txt").read_text() == "keep"
