import numpy as np
import pytest

from fastcollate.errors import InputError
from fastcollate.templates.conversations import read_conversation
from fastcollate.templates.turns import ToolCall, Turn

USER = {"role": "user", "content": "Q"}
ANSWER = {"role": "assistant", "content": "A"}


def turns_of(*messages: dict, **beside) -> list[Turn]:
    return list(read_conversation({"messages": list(messages), **beside}, {}).turns)


def refused(record: dict) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read_conversation(record, {})
    assert "\n" not in str(caught.value)
    return caught.value.reason, str(caught.value)


def test_openai_and_sharegpt_give_the_same_turns():
    conversations = [
        {"from": "system", "value": "S"},
        {"from": "human", "value": "Q"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "R"},
        {"from": "gpt", "value": "A"},
    ]
    messages = [
        {"role": "system", "content": "S"},
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}, "type": "function"}],
        },
        {"role": "tool", "content": "R"},
        ANSWER,
    ]
    expected = [
        Turn("system", "S", place=0),
        Turn("user", "Q", place=1),
        Turn("assistant", "", tool_calls=(ToolCall("f", '{"a": 1}'),), weight=1.0, place=2),
        Turn("tool", "R", place=3),
        Turn("assistant", "A", weight=1.0, place=4),
    ]
    assert turns_of(*messages) == expected
    assert list(read_conversation({"conversations": conversations}, {}).turns) == expected


def test_parts_of_text_are_joined_and_reasoning_is_kept_apart():
    parts = [
        {"type": "text", "text": "a"},
        {"type": "text", "value": "b"},
        "c",
        {"type": "thinking", "thinking": "t"},
    ]
    (turn,) = turns_of({"role": "assistant", "content": parts})
    assert (turn.text, turn.reasoning) == ("abc", "t")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_has_several_names(key):
    (turn,) = turns_of({**ANSWER, key: "so"})
    assert (turn.text, turn.reasoning) == ("A", "so")


@pytest.mark.parametrize(
    "call",
    [
        {"function": {"name": "f", "arguments": {"a": "é"}}},
        {"function": {"name": "f", "arguments": '{"a": "é"}'}},
        '{"name": "f", "arguments": {"a": "é"}}',
        {"name": "f", "parameters": {"a": "é"}},
    ],
)
def test_calls_are_objects_or_json(call):
    (turn,) = turns_of({"role": "assistant", "content": "", "tool_calls": [call]})
    assert turn.tool_calls == (ToolCall("f", '{"a": "é"}'),)


def test_messages_may_be_an_array_as_pandas_reads_it():
    record = {"messages": np.array([USER, ANSWER])}
    assert [turn.text for turn in read_conversation(record, {}).turns] == ["Q", "A"]


def test_the_old_function_call_and_its_result_are_read():
    turns = turns_of(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert turns[0].tool_calls == (ToolCall("f", "{}"),)
    assert turns[1] == Turn("tool", "1", place=1, name="f")


def test_system_and_tools_beside_the_messages_are_read():
    record = {"system": "Be terse", "tools": '[{"name": "f"}]', "conversations": [{"from": "human", "value": "Q"}]}
    turns, tools = read_conversation(record, {})
    assert turns == (Turn("system", "Be terse"), Turn("user", "Q", place=0))
    assert tools == ({"type": "function", "function": {"name": "f"}},)


@pytest.mark.parametrize("nothing", [None, "", "[]", [], float("nan")])
def test_no_tools_and_no_system_text_are_nothing(nothing):
    turns, tools = read_conversation({"messages": [USER], "tools": nothing}, {})
    assert (len(turns), tools) == (1, ())
    if nothing not in ("[]", []):
        assert len(turns_of(USER, system=nothing)) == 1


def test_a_system_text_that_is_said_twice_is_one():
    assert len(turns_of({"role": "system", "content": "S"}, USER, system="S")) == 2
    assert [turn.text for turn in turns_of({"role": "system", "content": "T"}, USER, system="S")] == [
        "S",
        "T",
        "Q",
    ]


def test_a_conversation_may_begin_with_the_assistant_and_repeat_a_role():
    assert [turn.role for turn in turns_of(ANSWER, ANSWER, USER, USER)] == ["assistant"] * 2 + ["user"] * 2


@pytest.mark.parametrize(
    ("said", "weight"),
    [
        ({"weight": 0}, 0.0),
        ({"train": False}, 0.0),
        ({"loss_weight": 0.5}, 0.5),
        ({"weight": None}, 1.0),
        ({}, 1.0),
    ],
)
def test_a_message_says_its_weight(said, weight):
    assert [turn.weight for turn in turns_of({**ANSWER, **said})] == [weight]


def test_a_message_of_the_user_is_learnt_where_it_says_so():
    assert [turn.weight for turn in turns_of({**USER, "train": True})] == [1.0]


@pytest.mark.parametrize("weight", ["1", -1, float("inf"), 1e300, 1 << 130, [1]])
def test_a_weight_is_a_number_from_0(weight):
    reason, message = refused({"messages": [{**ANSWER, "weight": weight}]})
    assert reason == "bad_weight"
    assert message.startswith('messages[0] has "weight" ')


def test_weights_that_differ_are_refused():
    reason, message = refused({"messages": [{**ANSWER, "weight": 1, "train": False}]})
    assert (reason, message) == (
        "bad_weight",
        "messages[0] has weights that contradict each other (weight 1, train False): leave one",
    )


@pytest.mark.parametrize(
    ("message", "reason", "said"),
    [
        ({"content": "Q"}, "missing_field", 'messages[1] has no role (the message has "content")'),
        ({"role": "alien", "content": "Q"}, "unknown_role", 'messages[1] has the unknown role "alien"'),
        ({"role": 3, "content": "Q"}, "unknown_role", "messages[1] has the unknown role 3"),
        ({"role": "user"}, "missing_field", 'messages[1] ("user") has no content'),
        ({"role": "assistant", "content": None}, "missing_field", 'messages[1] ("assistant") has no content'),
        ({"role": "user", "content": 4}, "not_string", "messages[1] has content of type int (4)"),
        ("hi", "bad_message", 'messages[1] is "hi": a message is an object'),
        (None, "bad_message", "messages[1] is None"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "not_text",
            'messages[1] has a part of type "image_url": only parts of text can be read',
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "not_text", "leave images, audio and files out"),
        ({"role": "user", "content": [{"type": "text"}]}, "missing_field", "a part of text without a text"),
        ({**USER, "tool_calls": [{"name": "f"}]}, "bad_message", "has tool calls: only an assistant has"),
        ({**ANSWER, "tool_calls": ["{"]}, "bad_tool_call", "messages[1] has a tool call that is not JSON"),
        ({**ANSWER, "tool_calls": [{"arguments": {}}]}, "bad_tool_call", "messages[1] has the tool call"),
        (
            {**ANSWER, "tool_calls": [{"name": "f", "arguments": "a=1"}]},
            "bad_tool_call",
            'messages[1] calls "f" with arguments that is not JSON: "a=1"',
        ),
        (
            {**ANSWER, "tool_calls": [{"name": "f", "arguments": {"a": float("nan")}}]},
            "bad_tool_call",
            "that JSON cannot hold",
        ),
    ],
)
def test_a_message_that_cannot_be_read_is_named(message, reason, said):
    found, text = refused({"messages": [USER, message]})
    assert found == reason
    assert said in text


@pytest.mark.parametrize(
    ("record", "reason", "said"),
    [
        ({"messages": []}, "no_turns", '"messages" is empty: a conversation has at least one turn'),
        ({"messages": "hi"}, "missing_field", '"messages" is "hi": it must be a list of messages'),
        ({"text": "a"}, "missing_field", 'field "messages" is missing (the record has "text")'),
        ({"messages": [USER], "conversations": [USER]}, "unknown_shape", "only one can be read"),
        ({"messages": [USER], "system": 3}, "not_string", '"system" is 3'),
        ({"messages": [USER], "tools": "f()"}, "bad_tool_call", '"tools" that is not JSON: "f()"'),
        ({"messages": [USER], "tools": [3]}, "bad_tool_call", '"tools" is [3]'),
    ],
)
def test_a_record_without_a_conversation_is_refused(record, reason, said):
    found, text = refused(record)
    assert found == reason
    assert said in text


def test_json_of_great_depth_is_refused():
    reason, _ = refused({"messages": [{**ANSWER, "tool_calls": ["[" * 100_000]}]})
    assert reason == "bad_tool_call"


def test_an_exchange_of_xtuner_has_a_system_text_and_says_what_is_learnt():
    pairs = [
        {"system": "S", "input": "a", "output": "b"},
        {"input": "c", "output": "d", "output_with_loss": False},
    ]
    turns = read_conversation({"conversation": pairs}, {}).turns
    assert [(turn.role, turn.text, turn.weight) for turn in turns] == [
        ("system", "S", 0.0),
        ("user", "a", 0.0),
        ("assistant", "b", 1.0),
        ("user", "c", 0.0),
        ("assistant", "d", 0.0),
    ]
