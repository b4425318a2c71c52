"""Turns become the text of a chat format: what stands around each role's messages, tools, calls and reasoning."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal

from fastcollate.errors import InputError
from fastcollate.templates.conversations import OfConversations, trained
from fastcollate.templates.segments import Segment
from fastcollate.templates.turns import Conversation, ToolCall, Turn
from fastcollate.templates.wording import json_text

__all__ = ["REASONING", "ChatFormat", "control_pieces"]

REASONING = ("<think>", "</think>")
"""What stands around the reasoning of a turn."""

_Pieces = list[tuple[str, bool]]  # text, and whether it is the format's own

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
class ChatFormat(OfConversations):
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
            before, after = REASONING
            body += [(f"{before}\n", True), (turn.reasoning, False), (f"\n{after}\n\n", True)]
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
        end = _learnt(suffix, self.control)
        yield suffix[:end], weight, True
        yield suffix[end:], 0.0, True


def _call_text(call: ToolCall, key: str) -> str:
    return f'{{"name": {json_text(call.name, "")}, "{key}": {call.arguments}}}'


@lru_cache(1024)
def _learnt(suffix: str, control: tuple[str, ...]) -> int:
    """Return up to where a suffix ends the turn: the end of its last special token, or its own."""
    return max((suffix.rfind(name) + len(name) for name in control if name in suffix), default=len(suffix))


@lru_cache(1024)  # a template's own texts are few
def control_pieces(text: str, names: tuple[str, ...]) -> list[tuple[str, bool]]:
    r"""Return a template's text in pieces: ordinary text, and the names of special tokens (True).

    >>> control_pieces("<|user|>\nhi<|end|>", ("<|user|>", "<|end|>"))
    [('<|user|>', True), ('\nhi', False), ('<|end|>', True)]
    """
    if not names:
        return [(text, False)] if text else []
    longest_first = sorted(names, key=len, reverse=True)
    found = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
    return [(piece, i % 2 == 1) for i, piece in enumerate(found) if piece]


def _merged(pieces: Iterable[tuple[str, float, bool]], control: tuple[str, ...]) -> list[Segment]:
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
