"""A conversation's record as turns: OpenAI's `messages`, ShareGPT's `conversations`, and what is beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcollate.errors import InputError
from fastcollate.templates.wording import given, having, json_text, nearest, parsed_json, short

__all__ = ["MESSAGE_KEYS", "Conversation", "ToolCall", "Turn", "read_tools", "read_turns"]

MESSAGE_KEYS = ("messages", "conversations", "conversation")
"""The keys under which a record may hold its turns."""

_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "tool_response", "ipython"), "tool"),
    **{role: role for role in ("system", "developer")},
}
_CALLS = ("function_call", "tool_call")
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value")
_PAIR = {"input", "output"}
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_WEIGHT_KEYS = ("loss_weight", "weight", "train")
_MOST_WEIGHT = float(np.finfo(np.float32).max)
_TEXT_PARTS = ("text", "input_text", "output_text")


class ToolCall(NamedTuple):
    """A call of a function.

    Attributes:
        name: The function.
        arguments: The arguments as JSON text: the text of the record where it has one.
        id: What the tool's answer calls the call; None where the record does not say.
    """

    name: str
    arguments: str
    id: str | None = None


class Turn(NamedTuple):
    """One message.

    Attributes:
        role: `"system"`, `"developer"`, `"user"`, `"assistant"` or `"tool"`.
        text: What was said; "" where there are only tool calls.
        reasoning: What was thought before; "" is nothing.
        tool_calls: The calls, which come after the text.
        weight: How much a model learns the turn: 1 for the assistant's and 0 for others, unless the record says.
        place: The message's place in the record, from 0; -1 is a system text that stands beside the messages.
        name: The name of the speaker or tool; None where the record does not say.
        call_id: The call that a tool's turn answers; None where the record does not say.
    """

    role: str
    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    weight: float = 0.0
    place: int = -1
    name: str | None = None
    call_id: str | None = None


class Conversation(NamedTuple):
    """The turns of a record in order, and the tools (JSON objects) that its assistant may call."""

    turns: tuple[Turn, ...]
    tools: tuple[dict[str, Any], ...] = ()


def read_turns(messages: object, key: str) -> tuple[Turn, ...]:
    """Return the turns of a list of messages, which messages of errors call `key`.

    Raises:
        InputError: There is no turn, or one is not what a conversation can hold; `reason` says why.
    """
    return tuple(_turn(message, f"{key}[{i}]", i) for i, message in enumerate(_listed(messages, key)))


def _listed(value: object, key: str) -> Sequence[object]:
    """Return the messages that a value holds: a list, or the JSON of one.

    A list of strings is what a user and an assistant say in turn, and one of objects with `input` and `output` has
    an exchange in each.
    """
    value = value.tolist() if isinstance(value, np.ndarray) else value  # as pandas reads Parquet
    value = _messages_in(value, key) if isinstance(value, str) else value
    if not isinstance(value, Sequence):
        found = "missing" if value is None else short(value)
        raise InputError(f'"{key}" is {found}: it must be a list of messages', reason="missing_field")
    if not value:
        raise InputError(f'"{key}" is empty: a conversation has at least one turn', reason="no_turns")
    if len(value) > 1 and all(isinstance(said, str) for said in value):
        return [{"role": ("user", "assistant")[i % 2], "content": said} for i, said in enumerate(value)]
    if all(isinstance(pair, Mapping) and pair.keys() >= _PAIR and not pair.keys() & _ROLE_KEYS for pair in value):
        return [message for pair in value for message in _exchange(pair)]
    return value


def _exchange(pair: Mapping[str, Any]) -> Sequence[object]:
    """Return the messages of an exchange as XTuner has it: before it may stand a system text."""
    system = given(pair, "system")
    before = [] if system in (None, "") else [{"role": "system", "content": system}]
    answer = {"role": "assistant", "content": pair["output"], "train": pair.get("output_with_loss")}
    return [*before, {"role": "user", "content": pair["input"]}, answer]


def _messages_in(text: str, key: str) -> object:
    """Return the list of messages that a text is the JSON of."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise InputError(
            f'"{key}" is {short(text)}: it must be a list of messages, or the JSON of one, as json.dumps writes '
            "it (Python's own notation, with single quotes, is none)",
            reason="missing_field",
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return made


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _turn(message: object, where: str, index: int) -> Turn:
    if not isinstance(message, Mapping):
        raise InputError(
            f'{where} is {short(message)}: a message is an object such as {{"role": "user", "content": "..."}}',
            reason="bad_message",
        )
    spelt, role = _role(message, where)
    content = next((message[key] for key in _CONTENT_KEYS if message.get(key) is not None), None)
    calls, thought = _tool_calls(message, where), _reasoning(message, where)
    if spelt in _CALLS:
        text, calls = "", (*calls, *_calls_in(content, where))
    elif content is None:
        if not (role == "assistant" and (calls or thought)):
            raise InputError(f'{where} ("{spelt}") has no content: give it a string', reason="missing_field")
        text = ""
    else:
        text, inner = _text(content, where)
        thought += inner
    if role != "assistant" and (calls or thought):
        what = "tool calls" if calls else "reasoning"
        raise InputError(
            f'{where} is of role "{spelt}" and has {what}: only an assistant has',
            reason="bad_message",
        )
    weight = _weight(message, where)
    weight = float(role == "assistant") if weight is None else weight
    name, call_id = message.get("name"), message.get("tool_call_id")
    return Turn(role, text, thought, calls, weight, index, name, call_id)


def _role(message: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Return the role as it is spelt, in small letters, and ours."""
    spelt = next((message[key] for key in _ROLE_KEYS if message.get(key) is not None), None)
    if spelt is None:
        raise InputError(
            f'{where} has no role ({having(message).replace("record", "message")}): give it "role" (or "from")',
            reason="missing_field",
        )
    role = _ROLES.get(spelt.lower()) if isinstance(spelt, str) else None
    if role is None:
        raise InputError(
            f"{where} has the unknown role {short(spelt)}: roles are {', '.join(_ROLES)}{nearest(spelt, _ROLES)}",
            reason="unknown_role",
        )
    return spelt.lower(), role


def _text(content: object, where: str) -> tuple[str, str]:
    """Return the text and the reasoning of a message's content."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list | tuple):
        raise InputError(
            f"{where} has content of type {type(content).__name__} ({short(content)}): it must be a string, or "
            "a list of parts",
            reason="not_string",
        )
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, Mapping) else None
        names = ("thinking", "text") if kind in ("thinking", "reasoning") else ("text", "value", "content")
        if kind not in (*_TEXT_PARTS, "thinking", "reasoning"):
            what = f"a part of type {short(kind)}" if isinstance(part, Mapping) else f"the part {short(part)}"
            raise InputError(
                f"{where} has {what}: only parts of text can be read; leave images, audio and files out",
                reason="not_text",
            )
        text = next((part[name] for name in names if isinstance(part.get(name), str)), None)
        if text is None:
            raise InputError(f"{where} has a part of text without a text: {short(part)}", reason="missing_field")
        (texts if kind in _TEXT_PARTS else thoughts).append(text)
    return "".join(texts), "".join(thoughts)


def _reasoning(message: Mapping[str, Any], where: str) -> str:
    said = {key: message[key] for key in _REASONING_KEYS if message.get(key)}
    for key, value in said.items():
        if not isinstance(value, str):
            raise InputError(f'{where} has "{key}" {short(value)}: it must be a string', reason="not_string")
    if len(set(said.values())) > 1:
        raise InputError(f"{where} has two reasonings ({', '.join(said)}): leave one", reason="bad_message")
    return next(iter(said.values()), "")


def _weight(message: Mapping[str, Any], where: str) -> float | None:
    """Return the weight that a message asks for; True is 1, False is 0, None is the role's."""
    asked = {key: value for key in _WEIGHT_KEYS if (value := given(message, key)) is not None}
    for key, value in asked.items():
        if not isinstance(value, int | float) or not 0 <= value <= _MOST_WEIGHT:
            raise InputError(
                f'{where} has "{key}" {short(value)}: it must be true, false or a number, 0 or more, '
                "that float32 can hold",
                reason="bad_weight",
            )
    if len({float(value) for value in asked.values()}) > 1:
        said = ", ".join(f"{key} {value}" for key, value in asked.items())
        raise InputError(
            f"{where} has weights that contradict each other ({said}): leave one", reason="bad_weight"
        )
    return float(next(iter(asked.values()))) if asked else None


def _tool_calls(message: Mapping[str, Any], where: str) -> tuple[ToolCall, ...]:
    calls = _calls_in(message["tool_calls"], where) if message.get("tool_calls") else ()
    return calls + _calls_in(message["function_call"], where) if message.get("function_call") else calls


def _calls_in(value: object, where: str) -> tuple[ToolCall, ...]:
    """Return the calls that a value holds: one or a list, as objects or as the JSON of them."""
    parsed = parsed_json(value, f"{where} has a tool call") if isinstance(value, str) else value
    return tuple(_call(one, where) for one in (parsed if isinstance(parsed, list | tuple) else [parsed]))


def _call(call: object, where: str) -> ToolCall:
    call = parsed_json(call, f"{where} has a tool call") if isinstance(call, str) else call
    inner = call.get("function") or call if isinstance(call, Mapping) else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(call, Mapping) or not isinstance(name, str):
        raise InputError(
            f'{where} has the tool call {short(call)}: it must be an object with "name" and "arguments"',
            reason="bad_tool_call",
        )
    arguments = inner.get("arguments", inner.get("parameters"))
    if isinstance(arguments, str) and arguments.strip():
        parsed_json(arguments, f'{where} calls "{name}" with arguments')
    elif not arguments:
        arguments = "{}"
    else:
        arguments = json_text(arguments, f'{where} calls "{name}" with arguments')
    return ToolCall(name, arguments, call.get("id"))


def read_tools(value: object) -> tuple[dict[str, Any], ...]:
    """Return the tools of a record: OpenAI's objects, also where the record has a function alone."""
    tools = parsed_json(value, '"tools"') if isinstance(value, str) and value.strip() else value
    tools = [tools] if isinstance(tools, Mapping) else tools or []
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise InputError(
            f'"tools" is {short(value)}: it must be a list of objects, or its JSON', reason="bad_tool_call"
        )
    return tuple(
        dict(tool) if "function" in tool or "type" in tool else {"type": "function", "function": dict(tool)}
        for tool in tools
    )
