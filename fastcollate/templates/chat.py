"""Turns become the text of a chat format: what stands around each role's messages, tools, calls and reasoning."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any, Literal

from fastcollate.errors import InputError
from fastcollate.templates.segments import Document, Segment
from fastcollate.templates.turns import MESSAGE_KEYS, Conversation, ToolCall, Turn, read_conversation
from fastcollate.templates.wording import json_text, renaming, short

__all__ = ["ChatFormat", "check_train_on", "control_pieces", "reading", "trained"]

_Pieces = list[tuple[str, bool]]  # text, and whether it is the format's own

_FIELDS = ("messages", "system", "tools")
_HERMES_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
    "function signatures within <tools></tools> XML tags:\n<tools>{tools}\n</tools>\n\nFor each function call, "
    "return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
_LLAMA_TOOLS = (
    "You have access to the following functions. To call a function, please respond with JSON for a function "
    'call. Respond in the format {"name": function name, "parameters": dictionary of argument name and its '
    "value}. Do not use variables.\n\n{tools}"
)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    r"""`ChatFormat` writes a conversation down: each message between its role's prefix and suffix.

    A record holds `messages` (OpenAI) or `conversations` (ShareGPT), and perhaps `system` and `tools` beside them.
    An assistant's message is learnt with the end of its turn (its suffix up to the last control token), unless
    the message has `weight`, `loss_weight` or `train` of its own; its prefix is not. An empty one is not learnt.

    Args:
        name: What error messages and a store's manifest call the template.
        roles: The role, prefix and suffix of each kind of message; `developer` falls back to `system`, and `tool`
            to `user`, with `<tool_response>` around it.
        begin: What stands before the first message; nothing by default.
        control: The special tokens that prefixes, suffixes and `begin` name; text of a record never becomes one.
        tools: How tools and calls are written: `"hermes"` (default) as Qwen does, `"llama3"` as Llama 3.1.
        trim: True strips white space around each message, as Llama 3 does; False (default) alters nothing.
        train_on: Which turns are learnt, as `training_on` takes it; `"all"` by default.
        renames: Pairs of `messages`, `system` or `tools` and the key it has in the records, where they differ.

    >>> roles = (("user", "Q: ", "\n"), ("assistant", "A: ", "<|end|>\n"))
    >>> chat = ChatFormat("plain", roles, control=("<|end|>",))
    >>> turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    >>> [(segment.text, segment.weight) for segment in chat.documents({"messages": turns})[0].segments]
    [('Q: 2+2?\nA: ', 0.0), ('4', 1.0), ('<|end|>', 1.0), ('\n', 0.0)]
    """

    name: str
    roles: tuple[tuple[str, str, str], ...]
    begin: str = ""
    control: tuple[str, ...] = ()
    tools: Literal["hermes", "llama3"] = "hermes"
    trim: bool = False
    train_on: str = "all"
    renames: tuple[tuple[str, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        content = json.dumps([getattr(self, field.name) for field in fields(self)])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        return reading(self.renames)

    def training_on(self, train_on: str) -> ChatFormat:
        """Return the same template with other turns learnt.

        Args:
            train_on: `"all"`, `"last"` (the last assistant turn alone) or `"none-before N"` (no turn before
                message N of the record, counted from 0).

        Raises:
            InputError: It is none of these.
        """
        return replace(self, train_on=check_train_on(train_on))

    def renamed(self, names: Mapping[str, str]) -> ChatFormat:
        """Return the same template for records with other keys.

        Args:
            names: The key of the records for `messages`, `system` or `tools`: `{"messages": "dialogue"}`.

        Raises:
            InputError: It names another field, or a key that is no string (`unknown_field`).
        """
        return replace(self, renames=renaming(self.name, self.renames, names, _FIELDS))

    def documents(self, record: Mapping[str, Any]) -> list[Document]:
        """Return the conversation of one record as one document.

        Args:
            record: What one row of the source holds.

        Raises:
            InputError: The record holds no conversation, or one that cannot be written; `reason` says why.
        """
        return [Document(self.segments(read_conversation(record, dict(self.renames))))]

    def segments(self, conversation: Conversation) -> list[Segment]:
        """Return the segments of a conversation.

        Raises:
            InputError: The format has no such role.
        """
        pieces = [(self.begin, 0.0, True)]
        for role, weight, body in self._bodies(trained(conversation.turns, self.train_on), conversation.tools):
            pieces += self._enclosed(role, weight, body)
        return _merged(pieces, self.control)

    def _bodies(
        self, turns: Sequence[Turn], tools: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[str, float, _Pieces]]:
        """Yield the role and weight of each message as it is written, and the pieces of its text."""
        if tools:
            said = _HERMES_TOOLS if self.tools == "hermes" else _LLAMA_TOOLS
            first = turns[0] if turns[0].role in ("system", "developer") else Turn("system", "")
            before, after = said.split("{tools}")
            text = [(first.text + "\n\n", False)] if first.text else []
            yield (
                first.role,
                first.weight,
                [*text, (before, True), (self._tool_texts(tools), False), (after, True)],
            )
            turns = turns[1:] if first is turns[0] else turns
        has_tool_role = any(role == "tool" for role, _, _ in self.roles)
        for role, group in groupby(turns, key=lambda turn: turn.role):
            if role != "tool" or has_tool_role:
                yield from ((role, turn.weight, self._body(turn)) for turn in group)
                continue
            # As Qwen writes them, neighbouring results share one turn.
            body: _Pieces = []
            for turn in (results := list(group)):
                start = "\n<tool_response>\n" if body else "<tool_response>\n"
                body += [(start, True), (turn.text, False), ("\n</tool_response>", True)]
            yield "user", max(turn.weight for turn in results), body

    def _body(self, turn: Turn) -> _Pieces:
        body: _Pieces = []
        if turn.reasoning:
            body += [("<think>\n", True), (turn.reasoning, False), ("\n</think>\n\n", True)]
        body.append((turn.text.strip() if self.trim else turn.text, False))
        if turn.tool_calls and self.tools == "hermes":
            for call in turn.tool_calls:
                start = "\n<tool_call>\n" if turn.text or call is not turn.tool_calls[0] else "<tool_call>\n"
                body += [(start, True), (_call_text(call, "arguments"), False), ("\n</tool_call>", True)]
        elif turn.tool_calls:
            calls = [_call_text(call, "parameters") for call in turn.tool_calls]
            body.append(("\n\n" if turn.text else "", False))
            body.append((calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]", False))
        return body

    def _tool_texts(self, tools: Sequence[dict[str, Any]]) -> str:
        if self.tools == "hermes":
            return "".join("\n" + json_text(tool, '"tools" holds what') for tool in tools)
        return "\n\n".join(json_text(tool, '"tools" holds what', indent=4) for tool in tools)

    def _enclosed(self, role: str, weight: float, body: _Pieces) -> Iterator[tuple[str, float, bool]]:
        """Yield text, weight, and whether it is the format's own, which alone may hold control tokens."""
        places = {role: (prefix, suffix) for role, prefix, suffix in self.roles}
        place = places.get(role) or (places.get("system") if role == "developer" else None)
        if place is None:
            raise InputError(
                f'template "{self.name}" has no role "{role}": it has {", ".join(places)}', reason="unknown_role"
            )
        prefix, suffix = place
        yield prefix, 0.0, True
        for text, ours in body:
            yield text, weight, ours
        end = max((suffix.rfind(name) + len(name) for name in self.control if name in suffix), default=len(suffix))
        yield suffix[:end], weight, True
        yield suffix[end:], 0.0, True


def _call_text(call: ToolCall, key: str) -> str:
    return f'{{"name": {json_text(call.name, "")}, "{key}": {call.arguments}}}'


def reading(renames: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the keys of a record that make a conversation."""
    keys = dict(renames)
    messages = {keys["messages"]} if "messages" in keys else {*MESSAGE_KEYS}
    return frozenset(messages | {keys.get(name, name) for name in ("system", "tools")})


def check_train_on(train_on: str) -> str:
    """Return `train_on` if it says which turns are learnt.

    Raises:
        InputError: It does not.
    """
    if not isinstance(train_on, str) or not re.fullmatch(r"all|last|none-before [0-9]{1,9}", train_on):
        raise InputError(
            f'train_on is {short(train_on)}: it must be "all", "last" or "none-before N", where N is the first '
            "message that may be learnt, counted from 0"
        )
    return train_on


def trained(turns: Sequence[Turn], train_on: str) -> tuple[Turn, ...]:
    """Return the turns with weight 0 where `train_on` leaves them out, or where there is nothing to learn.

    >>> turns = [Turn("assistant", "a", weight=1.0, place=0), Turn("assistant", "b", weight=1.0, place=1)]
    >>> [turn.weight for turn in trained(turns, "last")], [turn.weight for turn in trained(turns, "all")]
    ([0.0, 1.0], [1.0, 1.0])
    """
    first, last = -1, len(turns)
    if train_on == "last":
        first = last = max((turn.place for turn in turns if turn.role == "assistant"), default=0)
    elif train_on != "all":
        first = int(train_on.split()[1])
    return tuple(
        turn
        if first <= turn.place <= last and (turn.text or turn.reasoning or turn.tool_calls)
        else turn._replace(weight=0.0)
        for turn in turns
    )


def control_pieces(text: str, names: Sequence[str]) -> list[tuple[str, bool]]:
    r"""Return a template's text in pieces: ordinary text, and the names of special tokens (True).

    >>> control_pieces("<|user|>\nhi<|end|>", ("<|user|>", "<|end|>"))
    [('<|user|>', True), ('\nhi', False), ('<|end|>', True)]
    """
    if not names:
        return [(text, False)] if text else []
    longest_first = sorted(names, key=len, reverse=True)
    found = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
    return [(piece, i % 2 == 1) for i, piece in enumerate(found) if piece]


def _merged(pieces: Iterable[tuple[str, float, bool]], control: Sequence[str]) -> list[Segment]:
    """Return segments, as few as there can be."""
    segments: list[Segment] = []
    run, run_weight = "", 0.0
    for text, weight, ours in pieces:
        for piece, is_control in control_pieces(text, control) if ours else [(text, False)]:
            if run and piece and (is_control or weight != run_weight):
                segments.append(Segment(run, run_weight))
                run = ""
            if is_control:
                segments.append(Segment(piece, weight, control=True))
            elif piece:
                run, run_weight = run + piece, weight
    return [*segments, Segment(run, run_weight)] if run else segments
