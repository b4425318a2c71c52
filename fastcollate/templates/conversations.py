"""What templates of conversations share: which keys they read, and which turns are learnt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from fastcollate.errors import InputError
from fastcollate.templates.segments import Document, Segment
from fastcollate.templates.turns import MESSAGE_KEYS, Conversation, Turn, read_tools, read_turns
from fastcollate.templates.wording import given, having, renaming, short

__all__ = ["OfConversations", "read_conversation", "trained"]

_FIELDS = ("messages", "system", "tools")
_OLD_TOOLS = "functions"


class OfConversations:
    """What all templates of conversations have in common; it stands before a dataclass with these fields."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: str
    renames: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        keys = dict(self.renames)
        messages = {keys["messages"]} if "messages" in keys else {*MESSAGE_KEYS}
        tools = {keys["tools"]} if "tools" in keys else {"tools", _OLD_TOOLS}
        return frozenset(messages | tools | {keys.get("system", "system")})

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        raise NotImplementedError

    def training_on(self, train_on: str) -> Self:
        """Return the same template with other turns learnt.

        Args:
            train_on: `"all"`, `"last"` (the last assistant turn alone) or `"none-before N"` (no turn before
                message N of the record, counted from 0).

        Raises:
            InputError: It is none of these.
        """
        return replace(self, train_on=_check_train_on(train_on))

    def renamed(self, names: Mapping[str, str]) -> Self:
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
            LimitError: Writing it takes too long or too much memory.
        """
        return [Document(self.segments(read_conversation(record, dict(self.renames))))]

    def segments(self, conversation: Conversation) -> list[Segment]:
        """Return the segments of a conversation."""
        raise NotImplementedError


def read_conversation(record: Mapping[str, Any], keys: Mapping[str, str]) -> Conversation:
    """Return the conversation of a record.

    Args:
        record: What one row of the source holds.
        keys: The record's key for `messages`, `system` and `tools`, where it is another one. Without one for
            `messages` they are found under `messages`, `conversations` or `conversation`; without one for `tools`
            under `tools` or, as it was once called, `functions`.

    Raises:
        InputError: The record has no turns, or a turn is not what a conversation can hold; `reason` says why.

    >>> record = {"system": "Be terse.", "conversations": [{"from": "human", "value": "2+2?"},
    ...                                                    {"from": "gpt", "value": "4"}]}
    >>> [(turn.role, turn.text, turn.weight) for turn in read_conversation(record, {}).turns]
    [('system', 'Be terse.', 0.0), ('user', '2+2?', 0.0), ('assistant', '4', 1.0)]
    """
    key = keys.get("messages") or _message_key(record)
    turns = read_turns(given(record, key), key)
    system = given(record, keys.get("system", "system"))
    if system is not None and not isinstance(system, str):
        raise InputError(f'"system" is {short(system)}: beside "{key}" it must be a string', reason="not_string")
    if system and not (turns[0].role == "system" and turns[0].text == system):
        turns = (Turn("system", system), *turns)
    tools = given(record, keys.get("tools", "tools"))
    if tools is None and "tools" not in keys:
        tools = given(record, _OLD_TOOLS)
    return Conversation(turns, read_tools(tools))


def _message_key(record: Mapping[str, Any]) -> str:
    *usual, other = MESSAGE_KEYS
    found = [key for key in usual if given(record, key) is not None]
    if not found and given(record, other) is not None:  # beside messages it may be their number, or anything
        return other
    if len(found) > 1:
        raise InputError(
            f'the record has "{found[0]}" and "{found[1]}": only one can be read; say which with '
            'fields={"messages": ...} (--fields messages=...)',
            reason="unknown_shape",
        )
    if not found:
        raise InputError(
            f'field "messages" is missing ({having(record)}): a conversation stands under "messages" or '
            '"conversations"; say which key holds it with fields={"messages": ...} (--fields messages=...)',
            reason="missing_field",
        )
    return found[0]


def _check_train_on(train_on: str) -> str:
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
