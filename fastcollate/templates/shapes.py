"""Records that are more, or other, than one text: preference pairs, several instances, and rows of tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.templates.chat import ChatFormat
from fastcollate.templates.fields import PromptTemplate
from fastcollate.templates.segments import Document, Segment, TokenDocument
from fastcollate.templates.turns import MESSAGE_KEYS, Conversation, Turn, read_conversation, read_turns
from fastcollate.templates.wording import having, renaming, short

__all__ = ["InstancesTemplate", "PreferenceTemplate", "TokensTemplate"]

_PREFERENCE = ("prompt", "chosen", "rejected", "system", "tools")
_MASKS = ("loss_mask", "completion_mask", "assistant_masks")


@dataclass(frozen=True, slots=True)
class PreferenceTemplate:
    """`PreferenceTemplate` makes two documents of a record, the chosen answer first, which are of one group.

    `prompt`, `chosen` and `rejected` are strings, which follow each other with nothing between them, or lists of
    messages, which `chat` writes down. Without `prompt` the messages that both answers begin with are the prompt.
    The prompt is never learnt.

    Args:
        chat: The format of messages.
        renames: Pairs of a field and the key it has in the records, where they differ.

    >>> record = {"prompt": "2+2? ", "chosen": "4", "rejected": "5"}
    >>> [(d.group, d.segments[1].text) for d in PreferenceTemplate(ChatFormat("none", ())).documents(record)]
    [(0, '4'), (0, '5')]
    """

    chat: ChatFormat
    renames: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        return "preference" if self.chat.name == "chatml" else f"preference_{self.chat.name}"

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        content = json.dumps([self.name, self.chat.fingerprint, self.renames])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        keys = dict(self.renames)
        return frozenset({keys.get(name, name) for name in _PREFERENCE} | set(MESSAGE_KEYS))

    def renamed(self, names: Mapping[str, str]) -> PreferenceTemplate:
        """Return the same template for records with other keys.

        Raises:
            InputError: A field is unknown, or a key is no string (`unknown_field`).
        """
        return replace(self, renames=renaming(self.name, self.renames, names, _PREFERENCE))

    def documents(self, record: Mapping[str, Any]) -> list[Document]:
        """Return the two documents of one record.

        Raises:
            InputError: The record has no two answers, or none that fit the prompt; `reason` says why.
        """
        keys = {name: name for name in _PREFERENCE} | dict(self.renames)
        answers = [record.get(keys[name]) for name in ("chosen", "rejected")]
        for name, answer in zip(("chosen", "rejected"), answers, strict=True):
            if answer is None:
                raise InputError(
                    f'field "{keys[name]}" is missing ({having(record)}): a preference has "prompt", "chosen" and '
                    f'"rejected"; say which key holds it with fields={{"{name}": ...}}',
                    reason="missing_field",
                )
        prompt = record.get(keys["prompt"])
        messages = next((key for key in MESSAGE_KEYS if record.get(key) is not None), None)
        if isinstance(prompt, str) and messages is None and all(isinstance(answer, str) for answer in answers):
            system = record.get(keys["system"])
            if system:
                raise InputError(
                    f'"system" is {short(system)} beside a plain prompt: put it into the prompt, or make both '
                    "lists of messages",
                    reason="unknown_shape",
                )
            return [Document([Segment(prompt), Segment(str(answer), 1.0)], 0) for answer in answers]
        shared, tools = self._prompt(record, prompt, messages, keys)
        sides = [
            _answer_turns(answer, keys[name]) for answer, name in zip(answers, ("chosen", "rejected"), strict=True)
        ]
        return [Document(self.chat.segments(Conversation(turns, tools)), 0) for turns in _completed(shared, sides)]

    def _prompt(
        self, record: Mapping[str, Any], prompt: object, messages: str | None, keys: Mapping[str, str]
    ) -> tuple[tuple[Turn, ...], tuple[dict[str, Any], ...]]:
        """Return the turns of the prompt, a system text among them, and the tools."""
        if messages is None and prompt is None:
            messages, prompt = keys["prompt"], [{"role": "user", "content": "-"}]  # for system and tools alone
            beside = read_conversation({**record, messages: prompt}, {**keys, "messages": messages})
            return beside.turns[:-1], beside.tools
        if messages is None:
            messages = keys["prompt"]
            prompt = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            record = {**record, messages: prompt}
        return read_conversation(record, {**keys, "messages": messages})


def _answer_turns(answer: object, key: str) -> tuple[Turn, ...]:
    if isinstance(answer, str):
        answer = [{"role": "assistant", "content": answer}]
    return read_turns([answer] if isinstance(answer, Mapping) else answer, key)


def _completed(prompt: tuple[Turn, ...], sides: Sequence[tuple[Turn, ...]]) -> list[tuple[Turn, ...]]:
    """Return both conversations: the prompt, unless an answer repeats it or both begin alike, is not learnt."""
    system = tuple(turn for turn in prompt if turn.place < 0)
    asked = [_said(turn) for turn in prompt if turn.place >= 0]
    whole = [
        (*system, *side) if [_said(turn) for turn in side[: len(asked)]] == asked else (*prompt, *side)
        for side in sides
    ]
    shared = len(prompt)
    if not asked:
        alike = [_said(one) == _said(other) for one, other in zip(*whole, strict=False)]
        shared = [*alike, False].index(False)
    if any(len(turns) <= shared for turns in whole):
        raise InputError(
            '"chosen" and "rejected" do not differ in their answers: each must go on with a message of its own',
            reason="unknown_shape",
        )
    return [
        tuple(turn._replace(weight=0.0) if i < shared else turn for i, turn in enumerate(turns)) for turns in whole
    ]


def _said(turn: Turn) -> tuple[object, ...]:
    return turn.role, turn.text, turn.reasoning, turn.tool_calls


@dataclass(frozen=True, slots=True)
class InstancesTemplate:
    """`InstancesTemplate` makes a document of each entry of a record's `instances`, as self-instruct has them.

    Args:
        template: What writes one entry, together with the record's own fields.

    >>> template = InstancesTemplate(PromptTemplate.named("stanford_alpaca"))
    >>> entries = [{"input": "1 1", "output": "2"}, {"input": "3 4", "output": "7"}]
    >>> record = {"instruction": "Add.", "instances": entries}
    >>> [document.segments[-1].text for document in template.documents(record)]
    ['2', '7']
    """

    template: PromptTemplate

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        return "instances"

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        return hashlib.sha256(f"instances {self.template.fingerprint}".encode()).hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        return frozenset({"instruction", "instances"})

    def documents(self, record: Mapping[str, Any]) -> list[Document]:
        """Return a document for each entry of `instances`.

        Raises:
            InputError: There are no entries, or one is not what the template needs; `reason` says why.
        """
        entries = record.get("instances")
        if not isinstance(entries, list | tuple) or not entries:
            found = short(entries) if "instances" in record else f"missing ({having(record)})"
            raise InputError(
                f'"instances" is {found}: it must be a list with at least one {{"input", "output"}}',
                reason="missing_field",
            )
        documents = []
        for i, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise InputError(f"instances[{i}] is {short(entry)}: it must be an object", reason="not_string")
            try:
                documents += self.template.documents({"instruction": record.get("instruction"), **entry})
            except InputError as error:
                raise InputError(f"instances[{i}]: {error}", reason=error.reason) from None
        return documents


@dataclass(frozen=True, slots=True)
class TokensTemplate:
    """`TokensTemplate` takes rows that are tokens: `input_ids`, and `labels`, a mask or neither.

    A token is a target where its label is not -100 or its mask (`loss_mask`, `completion_mask`, `assistant_masks`)
    is 1; all are where there is neither. Where `attention_mask` is 0 is padding, which is left out.

    >>> (document,) = TokensTemplate().documents({"input_ids": [5, 6, 7], "labels": [-100, 6, 7]})
    >>> document.input_ids, document.weights
    (array([5, 6, 7], dtype=uint32), array([0., 1., 1.], dtype=float32))
    """

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        return "tokens"

    @property
    def fingerprint(self) -> str:
        """64 hex digits, always the same."""
        return hashlib.sha256(b"tokens").hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        return frozenset({"input_ids", "labels", "attention_mask", *_MASKS})

    def documents(self, record: Mapping[str, Any]) -> list[TokenDocument]:
        """Return the tokens of one record.

        Raises:
            InputError: A column is no list of integers or as long as no other, or a label is another token than
                its own (`bad_tokens`); there are no `input_ids` (`missing_field`).
        """
        if record.get("input_ids") is None:
            raise InputError(f'field "input_ids" is missing ({having(record)})', reason="missing_field")
        ids = _integers(record, "input_ids")
        if ids is None or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < 2**32):
            raise InputError(
                '"input_ids" has a number that is no token: ids are from 0 to 2**32 - 1', reason="bad_tokens"
            )
        columns = {key: _integers(record, key) for key in ("labels", "attention_mask", *_MASKS)}
        weights = np.ones(len(ids), np.float32)
        for key, column in columns.items():
            if column is None:
                continue
            if len(column) != len(ids):
                raise InputError(
                    f'"{key}" has {len(column)} entries and "input_ids" {len(ids)}: they must be as many',
                    reason="bad_tokens",
                )
            if key == "labels":
                _check_labels(ids, column)
            elif not np.isin(column, (0, 1)).all():
                raise InputError(f'"{key}" has other numbers than 0 and 1', reason="bad_tokens")
            if key != "attention_mask":
                weights *= column != -100 if key == "labels" else column
        mask = columns["attention_mask"]
        kept = slice(None) if mask is None else mask != 0
        return [TokenDocument(ids[kept].astype(np.uint32), weights[kept])]


def _integers(record: Mapping[str, Any], key: str) -> NDArray[np.int64] | None:
    value = record.get(key)
    if value is None:
        return None
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        found = None
    if (
        found is None
        or found.ndim != 1
        or (found.dtype.kind not in "iub" and len(found))
        or isinstance(value, str)
    ):
        raise InputError(f'"{key}" is {short(value)}: it must be a list of integers', reason="bad_tokens")
    return found.astype(np.int64)


def _check_labels(ids: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    other = np.flatnonzero((labels != -100) & (labels != ids))
    if len(other):
        at = int(other[0])
        raise InputError(
            f'"labels" has {labels[at]} at {at}, where "input_ids" has {ids[at]}: labels are -100 or the token '
            "itself, at its own place (a model shifts by itself)",
            reason="bad_tokens",
        )
