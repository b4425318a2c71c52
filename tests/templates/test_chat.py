import json
import pickle
from pathlib import Path

import pytest

from fastcollate.errors import InputError
from fastcollate.templates.built_in import CHAT_FORMATS
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Segment

GLAIVE = Path(__file__).parents[3] / "shared/data/glaive_toolcall_en_demo.json"
MESSAGES = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "Q1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "Q2"},
    {"role": "assistant", "content": "A2"},
]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "weather", "arguments": {"city": "Bonn"}}]}


def segments_of(name: str, messages: list, train_on: str = "all", **beside) -> list[Segment]:
    (document,) = load_template(name).training_on(train_on).documents({"messages": messages, **beside})
    assert document.group is None
    return list(document.segments)


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def learned(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments if segment.weight]


TEXTS = {
    "chatml": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
        "<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\nA2<|im_end|>\n"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nQ1<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA2<|eot_id|>"
    ),
    "phi3": (
        "<|system|>\nS<|end|>\n<|user|>\nQ1<|end|>\n<|assistant|>\nA1<|end|>\n"
        "<|user|>\nQ2<|end|>\n<|assistant|>\nA2<|end|>\n"
    ),
}


@pytest.mark.parametrize(
    ("name", "end"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("phi3", "<|end|>")]
)
def test_a_format_writes_the_text_of_its_models_and_learns_each_answer_with_its_end(name, end):
    segments = segments_of(name, MESSAGES)
    assert text_of(segments) == TEXTS[name]
    assert learned(segments) == ["A1", end, "A2", end]
    assert {segment.text for segment in segments if segment.control} <= set(CHAT_FORMATS[name]["control"])


def test_llama3_strips_messages_and_the_others_alter_nothing():
    spaced = [{"role": "user", "content": " Q\n"}, {"role": "assistant", "content": "\nA "}]
    assert learned(segments_of("llama3", spaced)) == ["A", "<|eot_id|>"]
    assert learned(segments_of("chatml", spaced)) == ["\nA ", "<|im_end|>"]


@pytest.mark.parametrize("name", CHAT_FORMATS)
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_control_text_in_a_message_stays_ordinary_text(name, role):
    control = CHAT_FORMATS[name]["control"]
    spelt = " ".join(control)
    plain = segments_of(name, [{"role": role, "content": "."}, MESSAGES[1]], tools=[WEATHER])
    spelling = segments_of(name, [{"role": role, "content": spelt}, MESSAGES[1]], tools=[WEATHER])
    assert [segment for segment in spelling if segment.control] == [
        segment for segment in plain if segment.control
    ]
    assert any(spelt in segment.text for segment in spelling if not segment.control)


def test_chatml_writes_tools_calls_results_and_reasoning_as_qwen_does():
    turns = [
        MESSAGES[1],
        {**CALL, "content": "Let me see.", "reasoning_content": "Bonn?"},
        {"role": "tool", "content": "rain"},
        {"role": "tool", "content": "wind"},
        MESSAGES[2],
    ]
    segments = segments_of("chatml", turns, tools=[WEATHER])
    assert text_of(segments) == (
        "<|im_start|>system\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        '{"type": "function", "function": {"name": "weather", "parameters": {}}}\n</tools>\n\n'
        "For each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\nQ1<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nBonn?\n</think>\n\nLet me see.\n<tool_call>\n"
        '{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nwind\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nA1<|im_end|>\n"
    )
    assert "".join(learned(segments)) == (
        "<think>\nBonn?\n</think>\n\nLet me see.\n<tool_call>\n"
        '{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call><|im_end|>A1<|im_end|>'
    )


def test_tools_follow_a_system_text():
    text = text_of(segments_of("chatml", MESSAGES, tools=[WEATHER]))
    assert text.startswith("<|im_start|>system\nS\n\n# Tools\n\n")
    assert text.count("<|im_start|>system") == 1


def test_llama3_writes_calls_as_json_with_parameters():
    segments = segments_of("llama3", [MESSAGES[1], CALL, {"role": "tool", "content": "rain"}], tools=[WEATHER])
    assert learned(segments) == ['{"name": "weather", "parameters": {"city": "Bonn"}}', "<|eot_id|>"]
    assert text_of(segments).endswith("<|start_header_id|>ipython<|end_header_id|>\n\nrain<|eot_id|>")
    assert '\n\n{\n    "type": "function",' in text_of(segments)


def test_a_developer_is_a_system_to_models_that_know_none():
    segments = segments_of("chatml", [{"role": "developer", "content": "D"}, MESSAGES[1]])
    assert text_of(segments).startswith("<|im_start|>system\nD<|im_end|>\n")


@pytest.mark.parametrize(
    ("train_on", "expected"),
    [("all", "A1 A2"), ("last", "A2"), ("none-before 3", "A2"), ("none-before 2", "A1 A2")],
)
def test_turns_are_learnt_as_train_on_says(train_on, expected):
    found = learned(segments_of("chatml", MESSAGES, train_on, system="X"))
    assert " ".join(found).replace(" <|im_end|>", "") == expected


@pytest.mark.parametrize("train_on", ["first", "none-before", "none-before x", 3, ""])
def test_an_unknown_train_on_is_refused(train_on):
    with pytest.raises(InputError, match='it must be "all", "last" or "none-before N"'):
        load_template("chatml").training_on(train_on)


def test_weights_are_those_of_the_segments():
    turns = [MESSAGES[1], {**MESSAGES[2], "weight": 0.25}, MESSAGES[3], {**MESSAGES[4], "train": False}]
    assert [(s.text, s.weight) for s in segments_of("chatml", turns) if s.weight] == [
        ("A1", 0.25),
        ("<|im_end|>", 0.25),
    ]


def test_an_empty_answer_is_not_learnt():
    assert learned(segments_of("chatml", [MESSAGES[1], {"role": "assistant", "content": ""}])) == []


def test_fields_rename_the_keys():
    template = load_template("chatml").renamed({"messages": "dialogue", "system": "persona"})
    (document,) = template.documents({"dialogue": MESSAGES[1:3], "persona": "S", "messages": "no"})
    assert text_of(list(document.segments)) == text_of(segments_of("chatml", MESSAGES[:3]))
    assert template.keys == {"dialogue", "persona", "tools", "functions"}
    with pytest.raises(InputError, match=r'has no field "message": .*did you mean "messages"'):
        template.renamed({"message": "a"})


def test_a_chat_template_survives_pickling_and_its_fingerprint_tells_it_apart():
    template = load_template("llama3")
    copy = pickle.loads(pickle.dumps(template))
    assert copy == template
    assert copy.documents({"messages": MESSAGES}) == template.documents({"messages": MESSAGES})
    others = [load_template(name) for name in CHAT_FORMATS]
    others += [template.training_on("last"), template.renamed({"messages": "m"})]
    assert len({other.fingerprint for other in others}) == len(others)


@pytest.mark.skipif(not GLAIVE.exists(), reason="needs the shared data")
@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_real_conversations_with_tools_keep_every_text(name):
    for record in json.loads(GLAIVE.read_text()):
        (document,) = load_template(name).documents(record)
        text = text_of(list(document.segments))
        learnt = "".join(segment.text for segment in document.segments if segment.weight)
        for turn in record["conversations"]:
            said = turn["value"].strip() if name == "llama3" else turn["value"]
            if turn["from"] == "function_call":
                said = f'"name": "{json.loads(said)["name"]}"'
            assert said in text
            assert (said in learnt) >= (turn["from"] in ("gpt", "function_call"))
        for tool in json.loads(record["tools"]):
            assert tool["description"] in text
            assert tool["description"] not in learnt
