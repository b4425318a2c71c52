"""What `prepare` and `info` say of the records that were kept: each count of the manifest in a sentence."""

import json
import logging

import numpy as np
import pytest
import tiktoken
from commands import run, succeed

from fastcollate import EncodingError, prepare
from fastcollate.pretokenize.telling import _LINES, told
from fastcollate.templates.segments import Document, Segment
from fastcollate.tokenizers import Tokenizer

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
ABSENT = (
    "in 2 records of 3 the template's control tokens <|im_end|>, <|im_start|> stand as ordinary text, several "
    "tokens each, since the encoding has no such tokens: choose an encoding that has them (--encoding, such as "
    "the model's tokenizer.json), or a template without them (--template)"
)
ENDLESS = (
    "in 1 record of 1 the last target is no end: neither an end of turn nor the end token, so a model would not "
    "learn to stop: let records end (no --no-eot), raise max_length (--max-length), or set overlong (--overlong "
    "keep_end)"
)


class Sometimes:
    """Writes control tokens around some answers."""

    name, fingerprint, keys = "sometimes", "0" * 64, frozenset({"a", "chat"})

    def documents(self, record):
        if not record.get("chat"):
            return [Document([Segment(record["a"], 1.0)])]
        around = [Segment("<|im_start|>", 0.0, control=True), Segment("<|im_end|>", 1.0, control=True)]
        return [Document([around[0], Segment(record["a"], 1.0), around[1]])]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_control_tokens_that_the_encoding_does_not_have_are_said_and_counted(tmp_path, caplog):
    records = [{"a": "x", "chat": True}, {"a": "y"}, {"a": "z", "chat": True}]
    store = prepare(records, tmp_path / "s", encoding="bytes", template=Sometimes(), workers=1)
    assert store.manifest.noted == {"absent:<|im_end|>": 2, "absent:<|im_start|>": 2}
    assert warnings(caplog) == [ABSENT]
    has = tiktoken.Encoding(
        "has",
        pat_str=r"(?s:.)",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258},
    )
    caplog.clear()
    store = prepare(records, tmp_path / "t", encoding=has, template=Sometimes(), workers=1)
    assert (store.manifest.noted, warnings(caplog)) == ({}, [])


@pytest.mark.parametrize(
    ("options", "noted"),
    [({"append_eot": False}, {"no_end": 1}), ({"max_length": 2}, {"cut": 1, "no_end": 1}), ({}, {})],
)
def test_records_that_do_not_end_are_said_and_counted(tmp_path, caplog, options, noted):
    store = prepare([{"text": "abc"}], tmp_path / "s", encoding="bytes", **options)
    assert store.manifest.noted == noted
    assert (ENDLESS in warnings(caplog)) == ("no_end" in noted)


def test_a_chat_ends_with_its_turn_though_no_end_token_follows(tmp_path):
    chat = {"messages": [*CHAT, {"role": "user", "content": "Thanks."}]}
    options = {"encoding": "cl100k_base", "template": "chatml"}
    try:
        assert "no_end" not in prepare([chat], tmp_path / "s", **options).manifest.noted
    except EncodingError as error:
        pytest.skip(str(error))


def test_info_says_every_count_in_a_sentence_and_gives_it_to_programs(tmp_path):
    records = [{"a": "x <|endoftext|>", "chat": True, "history": []}]
    store = prepare(records, tmp_path / "s", encoding="bytes", template=Sometimes(), append_eot=False, workers=1)
    noted = {
        "absent:<|im_end|>": 1,
        "absent:<|im_start|>": 1,
        "control_text": 1,
        "no_end": 1,
        "unread:history": 1,
    }
    assert store.manifest.noted == noted
    said = [line for line in succeed("info", store.path).splitlines() if line.startswith("noted: ")]
    assert said == [f"noted: {line.what}: {line.fix}" for line in told(noted, 1)]
    assert len(said) == 4
    assert json.loads(succeed("info", store.path, "--json"))["noted"] == noted


def test_prepare_ends_with_what_was_noted(tmp_path):
    source = tmp_path / "data.jsonl"
    source.write_text(json.dumps({"text": "hi", "history": 1}) + "\n")
    argv = ["prepare", source, "--encoding", "bytes", "--no-eot"]
    code, out, err = run(*argv, "--output", tmp_path / "s")
    lines = told({"no_end": 1, "unread:history": 1}, 1)
    assert code == 0
    said = [line for line in out.splitlines() if line.startswith("noted")]
    assert said == [f"noted: {line.what}" for line in lines]
    assert [line for line in err.splitlines() if "warning" in line] == [
        f"fastcollate: warning: {line.what}: {line.fix}" for line in lines
    ]
    _, out, _ = run(*argv, "--output", tmp_path / "t", "--json")
    assert json.loads(out)["noted"] == {"no_end": 1, "unread:history": 1}


def test_no_count_is_without_a_sentence():
    counts = dict.fromkeys((*_LINES, "unread:a", "absent:<x>"), 2)
    assert len(told(counts, 3)) == len(counts)
    assert all(line.what.startswith("in 2 records of 3 ") and line.fix for line in told(counts, 3))


def fails_at_c(text):
    if "c" in text:
        raise EncodingError("it has a c")
    return list(text.encode())


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_record_that_cannot_be_encoded_is_named_by_file_and_row(tmp_path, on_error):
    source = tmp_path / "data.jsonl"
    source.write_text('{"text": "a"}\n\n{"text": "b"}\n{"text": "c"}\n')
    picky = Tokenizer.from_callable(fails_at_c, vocab_size=257, eot_token_id=256)
    options = {"encoding": picky, "on_error": on_error, "workers": 1}
    if on_error == "raise":
        with pytest.raises(EncodingError) as caught:
            prepare(source, tmp_path / "s", **options)
        assert str(caught.value) == f"{source}, line 4: it has a c"
        assert (caught.value.path, caught.value.row) == (str(source), 4)
        return
    store = prepare(source, tmp_path / "s", **options)
    assert (len(store), store.manifest.rejected) == (2, {"not_encodable": 1})
    assert json.loads((store.path / "rejected.jsonl").read_text()) == {
        "file": "data.jsonl",
        "row": 3,
        "reason": "not_encodable",
        "message": "it has a c",
        "record": {"text": "c"},
    }


def test_targets_of_an_encoder_without_places_are_refused_by_row(tmp_path):
    blind = Tokenizer.from_callable(lambda text: list(text.encode()), vocab_size=257, eot_token_id=256)
    with pytest.raises(EncodingError, match=r"^record 0 of the given iterable: the text is a target in part"):
        prepare([{"prompt": "a", "completion": "b"}], tmp_path / "s", encoding=blind, workers=1)
    np.testing.assert_array_equal(blind.encode("a"), np.array([97]), strict=True)


def test_what_is_left_out_is_not_told_as_cut(tmp_path):
    records = [{"prompt": "Q" * 50, "completion": "A"}, {"prompt": "Q", "completion": "A" * 50}]
    store = prepare(records, tmp_path / "s", encoding="bytes", max_length=20)
    assert (len(store), store.manifest.rejected, store.manifest.noted["cut"]) == (1, {"unsupervised": 1}, 1)


def test_a_completion_that_is_marked_as_not_wanted_is_told(tmp_path, caplog):
    records = [{"prompt": "Hi", "completion": f" {i}", "label": i > 0} for i in range(3)]
    store = prepare(records, tmp_path / "s", encoding="bytes", workers=1)
    assert store.manifest.noted == {"unread:label": 3, "unwanted": 1}
    assert warnings(caplog)[0] == (
        'in 1 record of 3 the completion is marked as not wanted ("label": false), and is learnt: take such '
        "records out of the source"
    )
    texts = [{"text": "x", "label": False}]
    assert prepare(texts, tmp_path / "t", encoding="bytes", workers=1).manifest.noted == {"unread:label": 1}
