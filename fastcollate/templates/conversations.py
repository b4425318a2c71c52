"""What templates of conversations share: which keys they read, and which turns are learnt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from fastcollate.errors import InputError
from fastcollate.templates.segments import Document, Segment
from fastcollate.templates.turns import MESSAGE_KEYS, Conversation, Turn, read_conversation
from fastcollate.templates.wording import renaming, short

__all__ = ["OfConversations", "trained"]

_FIELDS = ("messages", "system", "tools")


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
        return frozenset(messages | {keys.get(name, name) for name in ("system", "tools")})

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
