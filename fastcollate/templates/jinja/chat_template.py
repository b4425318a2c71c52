"""Hugging Face's chat templates as templates of ours."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.conversations import OfConversations, trained
from fastcollate.templates.jinja.helper import Helper
from fastcollate.templates.jinja.names_read import names_read
from fastcollate.templates.jinja.turn_places import ANY_TURN
from fastcollate.templates.segments import CONTROL_LOOKS, Segment
from fastcollate.templates.turns import Conversation, Turn
from fastcollate.templates.wording import short

__all__ = ["ChatTemplate"]


@dataclass(frozen=True, slots=True)
class ChatTemplate(OfConversations):
    """`ChatTemplate` writes a conversation as a Hugging Face chat template (Jinja) does; the extra is `chat`.

    A record holds `messages` (OpenAI) or `conversations` (ShareGPT), and perhaps `system` and `tools` beside them.
    What is learnt is what `{% generation %}` marks. In a template without such marks it is each assistant turn
    from the end of what `add_generation_prompt` writes to its last special token. Special tokens come from the
    template alone: a message that spells one is ordinary text. The template runs in a process of its own, which
    the first rendering starts, for at most a second and 768 MiB a rendering.

    Args:
        text: The template.
        name: What error messages and a store's manifest call the template, `"chat_template"` by default.
        bos_token: What the template writes as `bos_token`; none by default.
        eos_token: What the template writes as `eos_token`; none by default.
        control_tokens: The special tokens. By default they are what looks like one: `<|...|>`, `<s>`, `</s>`,
            `<bos>`, `<eos>`, `<start_of_turn>` and the like, `bos_token` and `eos_token`.
        markup_tokens: Further tokens of the vocabulary, such as `</think>`, which a template may also look for in
            messages; there are none by default.
        variables: Further variables of the template, such as `{"enable_thinking": False}`; none by default.
        date: The day that `strftime_now` tells, in ISO form such as `"2026-01-31"`; by default there is no
            `strftime_now`, since the text would change from day to day.
        with_tools: Another template for records that have tools; none by default.
        train_on: Which turns are learnt, as `training_on` takes it; `"all"` by default.
        renames: Pairs of `messages`, `system` or `tools` and the key it has in the records, where they differ.

    Raises:
        InputError: The template is broken, an argument is, or Jinja is not installed.

    >>> template = ChatTemplate("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    ...                         "{% if add_generation_prompt %}<|assistant|>{% endif %}")
    >>> turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    >>> (document,) = template.documents({"messages": turns})
    >>> [segment.text for segment in document.segments if segment.weight]
    ['4', '<|end|>']
    """

    text: str
    _: KW_ONLY
    name: str = "chat_template"
    bos_token: str | None = None
    eos_token: str | None = None
    control_tokens: Sequence[str] | None = None
    markup_tokens: Sequence[str] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None
    with_tools: str | None = None
    train_on: str = "all"
    renames: tuple[tuple[str, str], ...] = ()
    _helper: Helper = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, value in (("text", self.text), ("name", self.name)):
            if not isinstance(value, str):
                raise InputError(f"{what} of a ChatTemplate is {short(value)}: it must be a string")
        try:
            _ = dt.date.fromisoformat(self.date) if self.date is not None else None
        except (TypeError, ValueError):
            raise InputError(f'date is {short(self.date)}: it must be a day such as "2026-01-31"') from None
        setup = self._setup()
        object.__setattr__(self, "_helper", Helper.of(setup))
        read = names_read(setup["texts"])
        for token in ("bos_token", "eos_token"):
            if token in read and getattr(self, token) is None:
                raise InputError(
                    f"the chat template writes {token}, which nobody has said: give ChatTemplate(..., "
                    f'{token}="...") ("" if there is none), or the path of the tokenizer_config.json'
                )

    def __reduce__(self) -> tuple[object, ...]:
        return _again, ({part.name: getattr(self, part.name) for part in fields(self) if part.init},)

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        content = {part.name: getattr(self, part.name) for part in fields(self) if part.init}
        return hashlib.sha256(json.dumps(content, default=list, sort_keys=True).encode()).hexdigest()

    def segments(self, conversation: Conversation) -> list[Segment]:
        """Return the segments of a conversation.

        Raises:
            InputError: The template refuses it, leaves a part of it out, or writes it so that turns cannot be told
                apart; `reason` says why.
            LimitError: The template takes too long or too much memory, or writes too much.
        """
        turns = trained(conversation.turns, self.train_on)
        wanted = [i for i, turn in enumerate(turns) if turn.weight]
        null = re.search(r"content['\"]?\]?\s+is\s+(not\s+)?none", self.text) is not None
        messages = [_message(turn, null=null) for turn in turns]
        reply = self._helper.ask(
            {"messages": messages, "tools": list(conversation.tools) or None, "wanted": wanted}
        )
        pieces: list[tuple[str, int, bool]] = reply["pieces"]
        _check_whole("".join(text for text, _, _ in pieces), turns, conversation.tools)
        weights = [
            *(turn.weight for turn in turns),
            _common_weight(pieces, turns),
            0.0,
        ]  # ANY_TURN is -2, none is -1
        return [Segment(text, weights[turn], control) for text, turn, control in pieces]

    def _setup(self) -> dict[str, Any]:
        tokens = {name: value for name in ("bos_token", "eos_token") if (value := getattr(self, name)) is not None}
        named = [token for token in (*(self.control_tokens or ()), *self.markup_tokens, *tokens.values()) if token]
        known = [re.escape(token) for token in sorted(named, key=len, reverse=True)]
        control = "|".join(known if self.control_tokens is not None else [*known, CONTROL_LOOKS])
        return {
            "texts": [self.text] if self.with_tools is None else [self.text, self.with_tools],
            "control": control or r"(?!)",
            "lenient": list(self.markup_tokens),
            "variables": {**tokens, **self.variables},
            "date": self.date,
        }


def _again(arguments: dict[str, Any]) -> ChatTemplate:
    """Let a template cross a process boundary, where it starts a helper of its own."""
    return ChatTemplate(**arguments)


def _message(turn: Turn, *, null: bool) -> dict[str, Any]:
    """Return a turn as chat templates know messages: arguments of calls are objects, absent things absent."""
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if turn.reasoning:
        message |= {"reasoning_content": turn.reasoning, "thinking": turn.reasoning}  # as transformers passes it
    if turn.tool_calls:
        message["content"] = turn.text or (None if null else "")
        message["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
                **({} if call.id is None else {"id": call.id}),
            }
            for call in turn.tool_calls
        ]
    beside = {"name": turn.name, "tool_call_id": turn.call_id}
    return message | {key: value for key, value in beside.items() if value is not None}


def _check_whole(text: str, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]]) -> None:
    """Raise where a template leaves out what a record holds."""
    missing = [
        f"the system text or the message of the {turn.role} at {turn.place}"
        for turn in turns
        if turn.role in ("system", "developer", "user") and turn.text.strip() not in text
    ]
    missing += [f'the call of "{c.name}" at {t.place}' for t in turns for c in t.tool_calls if c.name not in text]
    functions = [tool["function"] for tool in tools if isinstance(tool.get("function"), Mapping)]
    missing += [f'the tool "{name}"' for f in functions if (name := str(f.get("name", ""))) not in text]
    if missing:
        raise InputError(
            f"the chat template leaves out {missing[0]} (messages count from 0): use a template that writes it, "
            "or take it out of the record",
            reason="bad_template",
        )


def _common_weight(pieces: Sequence[tuple[str, int, bool]], turns: Sequence[Turn]) -> float:
    """Return the weight of what the template marks as some answer."""
    weights = {turn.weight for turn in turns if turn.role == "assistant"}
    if len(weights) > 1 and any(turn == ANY_TURN for _, turn, _ in pieces):
        raise InputError(
            "the chat template does not mark one {% generation %} for each assistant turn, so turns of different "
            "weights cannot be told apart: mark each, or give all one weight",
            reason="bad_template",
        )
    return weights.pop() if weights else 0.0
