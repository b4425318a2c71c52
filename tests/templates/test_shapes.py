import numpy as np
import pytest

from fastcollate.errors import InputError
from fastcollate.templates.named import load_template

ASK = {"role": "user", "content": "Q"}
GOOD = {"role": "assistant", "content": "good"}
POOR = {"role": "assistant", "content": "poor"}


def pair_of(record: dict, name: str = "preference") -> list[tuple[str, list[str]]]:
    """Both texts, each with what is learnt of it."""
    documents = load_template(name).documents(record)
    assert [document.group for document in documents] == [0, 0]
    return [
        ("".join(s.text for s in document.segments), [s.text for s in document.segments if s.weight])
        for document in documents
    ]


def refused(name: str, record: dict) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        load_template(name).documents(record)
    return caught.value.reason, str(caught.value)


def test_a_plain_pair_is_two_documents_the_chosen_first():
    pair = pair_of({"prompt": "Q: ", "chosen": "good", "rejected": "poor"})
    assert pair == [("Q: good", ["good"]), ("Q: poor", ["poor"])]


CHAT = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [POOR]},
        {"prompt": "Q", "chosen": [GOOD], "rejected": [POOR]},
        {"prompt": "Q", "chosen": [ASK, GOOD], "rejected": [ASK, POOR]},
        {"chosen": [ASK, GOOD], "rejected": [ASK, POOR]},
        {"prompt": [ASK], "chosen": "good", "rejected": "poor"},
        {"messages": [ASK], "chosen": GOOD, "rejected": POOR},
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "poor"},
        },
    ],
)
def test_a_pair_of_messages_shares_its_prompt_which_is_not_learnt(record):
    assert pair_of(record) == [
        (CHAT.format("good"), ["good", "<|im_end|>"]),
        (CHAT.format("poor"), ["poor", "<|im_end|>"]),
    ]


def test_answers_of_a_prompt_are_not_learnt():
    record = {"prompt": [ASK, GOOD, ASK], "chosen": [GOOD], "rejected": [POOR]}
    assert [learnt for _, learnt in pair_of(record)] == [["good", "<|im_end|>"], ["poor", "<|im_end|>"]]


def test_a_pair_has_its_system_text_and_other_formats():
    for record in (
        {"system": "S", "prompt": [ASK], "chosen": [GOOD], "rejected": [POOR]},
        {"system": "S", "chosen": [ASK, GOOD], "rejected": [ASK, POOR]},
    ):
        (text, _), _ = pair_of(record, "preference_llama3")
        assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>")


def test_fields_of_a_pair_can_be_renamed():
    template = load_template("preference").renamed({"prompt": "question"})
    first, _ = template.documents({"question": "Q: ", "chosen": "good", "rejected": "poor"})
    assert first.segments[0].text == "Q: "


@pytest.mark.parametrize(
    ("record", "reason", "said"),
    [
        ({"prompt": "Q", "chosen": "a"}, "missing_field", 'field "rejected" is missing'),
        (
            {"chosen": [ASK, GOOD], "rejected": [ASK, GOOD]},
            "unknown_shape",
            "do not differ in their answers",
        ),
        ({"system": "S", "prompt": "Q", "chosen": "a", "rejected": "b"}, "unknown_shape", "beside a plain prompt"),
        ({"prompt": [ASK], "chosen": 3, "rejected": [GOOD]}, "missing_field", '"chosen" is 3'),
    ],
)
def test_a_pair_that_is_none_is_refused(record, reason, said):
    found, message = refused("preference", record)
    assert found == reason
    assert said in message


def test_each_instance_is_a_document_of_its_own():
    record = {"instruction": "Add.", "instances": [{"input": "1 1", "output": "2"}, {"input": "", "output": "0"}]}
    documents = load_template("instances").documents(record)
    single = [{"instruction": "Add.", **entry} for entry in record["instances"]]
    assert documents == [load_template("stanford_alpaca").documents(entry)[0] for entry in single]


@pytest.mark.parametrize(
    ("instances", "reason", "said"),
    [
        ([], "missing_field", '"instances" is []'),
        ([{"input": "a"}], "missing_field", 'instances[0]: field "output" is missing'),
        (["a"], "not_string", 'instances[0] is "a"'),
    ],
)
def test_instances_that_are_none_are_refused(instances, reason, said):
    found, message = refused("instances", {"instruction": "Add.", "instances": instances})
    assert found == reason
    assert said in message


@pytest.mark.parametrize(
    ("record", "ids", "weights"),
    [
        ({"input_ids": [5, 6, 7]}, [5, 6, 7], [1, 1, 1]),
        ({"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}, [5, 6, 7], [0, 0, 1]),
        ({"input_ids": [5, 6, 0], "labels": [-100, 6, -100], "attention_mask": [1, 1, 0]}, [5, 6], [0, 1]),
        ({"input_ids": np.array([5, 6]), "completion_mask": [0, 1]}, [5, 6], [0, 1]),
        ({"input_ids": [], "labels": []}, [], []),
    ],
)
def test_rows_of_tokens_pass_as_they_are(record, ids, weights):
    (document,) = load_template("tokens").documents(record)
    assert (document.input_ids.dtype, document.weights.dtype) == (np.uint32, np.float32)
    assert (document.input_ids.tolist(), document.weights.tolist()) == (ids, weights)


@pytest.mark.parametrize(
    ("record", "reason", "said"),
    [
        ({"labels": [1]}, "missing_field", 'field "input_ids" is missing'),
        ({"input_ids": [1, -2]}, "bad_tokens", "a number that is no token"),
        ({"input_ids": [2**32]}, "bad_tokens", "a number that is no token"),
        ({"input_ids": [2**70]}, "bad_tokens", "must be a list of integers"),
        ({"input_ids": [1.5]}, "bad_tokens", "must be a list of integers"),
        ({"input_ids": [[1], [2]]}, "bad_tokens", "must be a list of integers"),
        ({"input_ids": [[1], [2, 3]]}, "bad_tokens", "must be a list of integers"),
        ({"input_ids": "12"}, "bad_tokens", "must be a list of integers"),
        ({"input_ids": [1, 2], "labels": [1]}, "bad_tokens", '"labels" has 1 entries and "input_ids" 2'),
        ({"input_ids": [1, 2], "labels": [2, -100]}, "bad_tokens", '"labels" has 2 at 0, where "input_ids" has 1'),
        ({"input_ids": [1], "attention_mask": [2]}, "bad_tokens", "other numbers than 0 and 1"),
    ],
)
def test_rows_that_are_no_tokens_are_refused(record, reason, said):
    found, message = refused("tokens", record)
    assert found == reason
    assert said in message


@pytest.mark.parametrize("key", ["system", "tools", "messages", "prompt"])
def test_nan_beside_two_answers_is_nothing(key):
    answers = {"chosen": "4", "rejected": "5", "prompt": "2+2? "}
    if key == "prompt":
        answers = {name: [{"role": "assistant", "content": answers[name]}] for name in ("chosen", "rejected")}
    assert pair_of({**answers, key: np.nan}) == pair_of(answers)


def test_an_answer_that_is_nan_is_missing():
    assert refused("preference", {"prompt": "2+2? ", "chosen": np.nan, "rejected": "5"})[1].startswith(
        'field "chosen" is missing'
    )


@pytest.mark.parametrize("key", ["system", "tools"])
def test_what_a_plain_prompt_cannot_hold_is_refused(key):
    record = {"prompt": "2+2? ", "chosen": "4", "rejected": "5", key: "[{}]"}
    reason, said = refused("preference", record)
    assert reason == "unknown_shape"
    assert f'"{key}" is "[{{}}]" beside a plain prompt' in said
