"""What is found out from the first records, and what is kept and told of each."""

import json
import logging

import numpy as np
import pytest

from fastcollate import (
    BucketedDataset,
    CollateError,
    EncodingError,
    InputError,
    PaddingCollator,
    StreamLoader,
    TokenStore,
    prepare,
)


def test_the_template_is_told_by_the_records_and_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "fastcollate")
    store = prepare([{"question": "2+2?", "answer": "4"}], tmp_path / "s", encoding="bytes")
    assert store.manifest.template == "question_answer"
    assert caplog.messages == [
        "template: question_answer, told by question, answer (--template or template= chooses another)"
    ]


def test_fields_tell_the_template_too(tmp_path):
    fields = {"instruction": "question", "output": "answer"}
    store = prepare([{"question": "2+2?", "answer": "4"}], tmp_path / "s", encoding="bytes", fields=fields)
    assert store.manifest.template == "alpaca"


def test_keys_become_columns_of_one_kind(tmp_path):
    records = [{"text": "a", "n": 1, "kind": "x", "p": 0.5}, {"text": "b", "n": 2, "kind": None, "p": None}]
    store = prepare(records, tmp_path / "s", encoding="bytes", keep_columns=("n", "kind", "p"))
    found = {name: np.concatenate([store.column(name, i) for i in range(2)]) for name in ("n", "kind", "p")}
    np.testing.assert_array_equal(found["n"], np.array([1, 2], np.int64), strict=True)
    assert [store.words("kind")[code] for code in found["kind"]] == ["x", ""]
    np.testing.assert_array_equal(found["p"], np.array([0.5, np.nan]), strict=True)
    with pytest.raises(InputError, match='record 1 of the given iterable: "n" is "two": it is kept as a column'):
        prepare([{"text": "a", "n": 1}, {"text": "b", "n": "two"}], tmp_path / "t", keep_columns=["n"])
    with pytest.raises(InputError, match='"m" is to be kept as a column, and none of the first 2 records has it'):
        prepare(records, tmp_path / "t", keep_columns=["m"])


@pytest.mark.parametrize(
    ("record", "options", "reason"),
    [
        ({"prompt": "Q", "completion": ""}, {}, "empty"),
        ({"prompt": "Q" * 9, "completion": "A"}, {"max_length": 8}, "unsupervised"),
        ({"prompt": "Q" * 9, "completion": "A"}, {"max_length": 8, "overlong": "keep_end"}, "unsupervised"),
    ],
)
def test_a_record_without_a_target_never_passes_in_silence(tmp_path, record, options, reason):
    options = {"encoding": "bytes", "template": "prompt_completion", **options}
    good = {"prompt": "Q", "completion": "A"}
    store = prepare([good, record], tmp_path / "drop", **options)
    assert (len(store), store.manifest.rejected) == (1, {reason: 1})
    (line,) = map(json.loads, (tmp_path / "drop/rejected.jsonl").read_text().splitlines())
    assert (line["file"], line["row"], line["reason"], line["record"]) == (None, 1, reason, record)
    store = prepare([good, record], tmp_path / "keep", unsupervised="keep", **options)
    assert (len(store), store.manifest.noted["unsupervised"]) == (2, 1)
    np.testing.assert_array_equal(store.supervised, np.array([2, 0], np.int32), strict=True)
    with pytest.raises(InputError, match="record 1 of the given iterable") as caught:
        prepare([good, record], tmp_path / "error", unsupervised="error", **options)
    assert caught.value.reason == reason


def test_a_cut_prompt_keeps_the_answer(tmp_path):
    record = {"prompt": "0123456789", "completion": "AB"}
    options = {"encoding": "bytes", "template": "prompt_completion", "max_length": 5, "overlong": "cut_prompt"}
    store = prepare([record], tmp_path / "s", **options)
    assert (store.text(0), store.spans(0).tolist()) == ("89AB<|endoftext|>", [[2, 5]])
    assert store.manifest.noted == {"cut": 1}


def test_two_answers_of_one_prompt_stay_together(tmp_path):
    records = [{"prompt": "p", "chosen": "yes", "rejected": "no"}] * 3
    store = prepare(records, tmp_path / "s", encoding="bytes", records_per_shard=3)
    assert [shard.records for shard in store.manifest.shards] == [2, 2, 2]
    assert [int(store.column("group", i)[0]) for i in range(6)] == [0] * 6
    assert [store.source_row(i) for i in range(6)] == [0, 0, 1, 1, 2, 2]


def test_weights_of_messages_are_a_column(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0.5}]
    store = prepare([{"messages": turns}], tmp_path / "s", encoding="bytes")
    assert set(store.column("weights", 0).tolist()) == {0.5}
    dataset = BucketedDataset(store, batch_size=1)
    with pytest.raises(CollateError, match="weights other than 1"):
        list(StreamLoader(dataset, PaddingCollator(256)))
    (batch,) = StreamLoader(dataset, PaddingCollator(256, supervise="response"))
    assert set(batch["loss_weights"][batch["labels"] != -100].tolist()) == {0.5}
    assert len(list(StreamLoader(dataset, PaddingCollator(256, labels=False)))) == 1


def test_rows_of_tokens_pass_the_tokenizer_by(tmp_path):
    records = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}]
    store = prepare(records, tmp_path / "s", encoding="bytes")
    assert (store[0].tolist(), store.spans(0).tolist()) == ([1, 2, 3], [[1, 3]])


def test_what_a_model_would_learn_unmeant_is_said(tmp_path, caplog):
    records = [{"prompt": "a", "completion": "b <|endoftext|>", "history": []}, {"prompt": "a", "completion": "b"}]
    store = prepare(records, tmp_path / "s", encoding="bytes")
    assert store.manifest.noted == {"control_text": 1, "unread:history": 1}
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said[0].startswith("in 1 record of 2 the text spells the name of a control token")
    assert said[1].startswith('in 1 record of 2 the template does not read "history": name what should be read')


def test_records_need_an_end_to_end_with(tmp_path):
    from fastcollate.tokenizers.tokenizer import Tokenizer

    letters = Tokenizer.from_callable(lambda text: list(text.encode()), vocab_size=256, eot_token_id=None)
    with pytest.raises(EncodingError, match=r"has no end-of-text token.*append_eot=False \(--no-eot\)"):
        prepare([{"text": "a"}], tmp_path / "s", encoding=letters)
    store = prepare([{"text": "ab"}], tmp_path / "s", encoding=letters, append_eot=False, workers=1)
    assert isinstance(store, TokenStore)
    assert store[0].tolist() == [97, 98]


@pytest.mark.parametrize("first", ["x", 1, 0.5])
@pytest.mark.parametrize("value", [2**70, 10**400, 10**5000, "\ud800"], ids=["70 bits", "400", "5000", "half"])
def test_a_value_that_no_column_can_hold_is_a_bad_record(tmp_path, first, value):
    records = [{"text": "a", "k": first}, {"text": "b", "k": value}]
    with pytest.raises(InputError, match='record 1 of the given iterable: "k" is ') as caught:
        prepare(records, tmp_path / "s", encoding="bytes", keep_columns=["k"])
    assert caught.value.reason == "not_kept"
    store = prepare(records, tmp_path / "s", encoding="bytes", keep_columns=["k"], on_error="skip")
    assert (len(store), store.manifest.rejected) == (1, {"not_kept": 1})


def test_nan_is_nothing_in_a_column(tmp_path):
    def kept(*values):
        records = [{"text": "a", "k": value} for value in values]
        name = str(len(list(tmp_path.iterdir())))
        store = prepare(records, tmp_path / name, encoding="bytes", keep_columns=["k"])
        return np.concatenate([store.column("k", i) for i in range(len(values))]), store

    for values in (["x", np.nan], [np.nan, "x"]):
        codes, store = kept(*values)
        assert [store.words("k")[code] for code in codes] == ["x" if value == "x" else "" for value in values]
    for values in ([np.nan, 3], [np.nan, 0.5], [np.nan, np.nan]):
        np.testing.assert_array_equal(kept(*values)[0], np.array(values, np.float64), strict=True)


def test_a_renamed_key_stands_for_what_has_the_fields_own_name(tmp_path):
    records = [{"q": "2+2?", "a": "4", "question": None}]
    fields = {"question": "q", "answer": "a"}
    store = prepare(records, tmp_path / "s", encoding="bytes", fields=fields)
    assert store.manifest.template == "question_answer"
