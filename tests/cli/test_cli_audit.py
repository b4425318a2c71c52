"""`fastcollate audit`: what it prints and writes, and how it ends."""

import json
import os

import pytest
from commands import RECORDS, fail, run, succeed

from fastcollate import TokenStore, audit, prepare

pytestmark = pytest.mark.usefixtures("plain_terminal")
TWICE = [*RECORDS, RECORDS[0]]


@pytest.fixture
def store(tmp_path):
    return prepare(TWICE, tmp_path / "store", encoding="bytes", template="alpaca")


@pytest.fixture
def clean(tmp_path):
    return prepare(RECORDS, tmp_path / "clean", encoding="bytes", template="alpaca")


def test_it_prints_what_it_found(store):
    assert succeed("audit", store.path) == (
        f"path      {store.path}\n"
        "encoding  bytes\n"
        "template  alpaca\n"
        "records   4\n"
        "tokens    622\n"
        "targets   79, 12.7 % of the tokens\n"
        "lengths   min 151, median 151, mean 155.5, p99 162, max 162\n"
        "\n"
        "targets by length\n"
        "   tokens  records  targets  share of all targets  of these tokens\n"
        "150 - 151        2       40                50.6 %           13.2 %\n"
        "152 - 153        0        0                 0.0 %            0.0 %\n"
        "154 - 155        0        0                 0.0 %            0.0 %\n"
        "156 - 157        0        0                 0.0 %            0.0 %\n"
        "158 - 159        1       21                26.6 %           13.3 %\n"
        "160 - 161        0        0                 0.0 %            0.0 %\n"
        "162 - 163        1       18                22.8 %           11.1 %\n"
        "\n"
        "the longest records\n"
        "record  tokens\n"
        "     1     162\n"
        "     2     158\n"
        "     0     151\n"
        "     3     151\n"
        "\n"
        "the records that weigh most in the loss\n"
        "record  tokens  targets  weight  share of the loss\n"
        "     2     158       21      21             26.6 %\n"
        "     0     151       20      20             25.3 %\n"
        "     3     151       20      20             25.3 %\n"
        "     1     162       18      18             22.8 %\n"
        "\n"
        "duplicate: 1 record, 25.0 %\n"
        "  The record has the same tokens as an earlier one, and is learnt as often as it\n"
        "  is there. Keep one of them in the source.\n"
        "  records 3\n"
    )


def test_for_machines_it_prints_what_the_function_returns(store):
    found = json.loads(succeed("audit", store.path, "--json", "--length", 140))
    assert found == json.loads(json.dumps(audit(store, length=140).as_dict()))
    assert [each["kind"] for each in found["findings"]] == ["cut", "duplicate"]


def test_quick_says_what_was_left_out(store):
    out = succeed("audit", store.path, "--quick")
    assert "nothing was found" in out
    assert "left out: the tokens were not read" in out


def test_strict_ends_with_1_where_something_is_found(store, clean):
    code, out, err = run("audit", store.path, "--strict")
    assert (code, err) == (1, "")
    assert out == succeed("audit", store.path)
    succeed("audit", clean.path, "--strict")
    code, out, _ = run("audit", clean.path, "--strict", "--length", 10, "--json")
    assert (code, json.loads(out)["findings"][0]["kind"]) == (1, "cut")


def test_examples_are_transcripts(store):
    out = succeed("audit", store.path, "--examples")
    assert out.endswith(
        "\nduplicate: record 3\n\n" + succeed("show", store.path, "--record", 3).split("\n\n", 1)[1]
    )
    assert "\x1b[32m" in succeed("audit", store.path, "--examples", is_terminal=True)


def test_the_page_is_written_whole(store, tmp_path):
    page = tmp_path / "audit.html"
    page.write_text("an older one")
    succeed("audit", store.path, "--html", page)
    assert page.read_text() == audit(store).to_html()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.html", "store"]


def test_a_page_that_cannot_be_is_an_error_before_anything_is_read(store, tmp_path, monkeypatch):
    monkeypatch.setattr("fastcollate.cli.audit.audit", None)
    fix = "give --html the name of a file in a folder that is there"
    assert fail("audit", store.path, "--html", tmp_path) == f'"{tmp_path}" is no file: {fix}'
    assert fail("audit", store.path, "--html", os.devnull) == f'"{os.devnull}" is no file: {fix}'
    page = tmp_path / "none" / "audit.html"
    assert fail("audit", store.path, "--html", page) == f"there is no folder {page.parent}: {fix}"


def test_errors_are_one_line(store, tmp_path):
    assert fail("audit", tmp_path).startswith(f"{tmp_path} holds no store")
    assert fail("audit", store.path, "--length", 0).startswith("length is 0: it must be an integer, at least 1")
    message = fail("audit", store.path, "--encoding", "gpt2")
    assert "written with another encoding" in message or "cannot be reached" in message
    assert "is unknown" in fail("audit", store.path, "--encoding", "gpt7")


def test_ctrl_c_ends_with_130(store, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastcollate.cli.audit.audit", interrupted)
    assert run("audit", store.path) == (130, "", "fastcollate: interrupted\n")


@pytest.fixture
def tokenizer_file(tmp_path):
    pytest.importorskip("tokenizers.models")  # a folder of tests has the name of the package
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    (tmp_path / "model").mkdir()
    made.save(str(tmp_path / "model" / "tokenizer.json"))
    return tmp_path / "model" / "tokenizer.json"


def test_a_store_of_a_tokenizer_file_is_given_it(tokenizer_file, tmp_path):
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "loss_weight": 0.5}]
    records = [{"messages": turns}, {"messages": [{"role": "user", "content": "<|im_end|>?"}, turns[1]]}]
    store = prepare(records, tmp_path / "store", encoding=tokenizer_file, template="chatml")
    out = json.loads(succeed("audit", store.path, "--encoding", tokenizer_file, "--json"))
    assert [(each["kind"], each["examples"]) for each in out["findings"]] == [("control_text", [1])]
    assert out["left_out"] == []
    bare = json.loads(succeed("audit", store.path, "--json"))
    assert bare["findings"] == []
    assert "give encoding (--encoding)" in bare["left_out"][0]
    assert succeed("show", store.path, "--encoding", tokenizer_file.parent) == (
        "record 0 of 2: 27 tokens, 3 of them the response, from row 0 of the source\n"
        "\n"
        "--- user, prompt, 12 tokens ---\n"
        "⟦<|im_start|>⟧user\n2+2?⟦<|im_end|>⟧\n\n"
        "--- assistant, prompt, 11 tokens ---\n"
        "⟦<|im_start|>⟧assistant\n\n"
        "--- assistant, response, weight 0.5, 2 tokens ---\n"
        "4⟦<|im_end|>⟧\n"
        "--- assistant, prompt, 1 token ---\n\n\n"
        "--- assistant, response, weight 0.5, 1 token ---\n"
        "⟦<|endoftext|>⟧\n"
    )
    coloured = succeed("show", store.path, "--encoding", tokenizer_file, "--record", 1, is_terminal=True)
    assert coloured.endswith(
        "\x1b[1muser:\x1b[0m\n\x1b[2m\x1b[7m<|im_start|>\x1b[0m\x1b[2muser\x1b[0m\n"
        "\x1b[2m<|im_end|>?\x1b[0m\x1b[2m\x1b[7m<|im_end|>\x1b[0m\n"
        "\x1b[1massistant:\x1b[0m\n\x1b[2m\x1b[7m<|im_start|>\x1b[0m\x1b[2massistant\x1b[0m\n"
        "\x1b[1m[weight 0.5]\x1b[0m\x1b[32m4\x1b[0m\x1b[32m\x1b[7m<|im_end|>\x1b[0m\n"
        "\x1b[1m[weight 0.5]\x1b[0m\x1b[32m\x1b[7m<|endoftext|>\x1b[0m\n"
    )
    assert "is unknown" in fail("show", store.path)


def test_the_same_store_gives_the_same_words(store):
    assert succeed("audit", store.path) == str(audit(TokenStore(store.path))) + "\n"
