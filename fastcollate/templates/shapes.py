"""Records that are more than one text: preference pairs, and several instances."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.conversations import OfConversations, read_conversation
from fastcollate.templates.fields import PromptTemplate
from fastcollate.templates.segments import Document, Segment
from fastcollate.templates.turns import MESSAGE_KEYS, Conversation, Turn, read_turns
from fastcollate.templates.wording import given, having, renaming, short

__all__ = ["CompletionTemplate", "InstancesTemplate", "PreferenceTemplate", "holds_messages"]

_PREFERENCE = ("prompt", "chosen", "rejected", "system", "tools")
# How the JSON of a list of messages begins.
_OF_MESSAGES = re.compile(r'\s*\[\s*\{\s*"(?:role|from|content|value)"\s*:')
_COMPLETION = ("prompt", "completion", "system", "tools")


@dataclass(frozen=True, slots=True)
class PreferenceTemplate:
    """`PreferenceTemplate` makes two documents of a record, the chosen answer first, which are of one group.

    `prompt`, `chosen` and `rejected` are strings, which follow each other with nothing between them, or lists of
    messages, which `chat` writes down. Without `prompt` the messages that both answers begin with are the prompt.
    The prompt is never learnt.

    Args:
        chat: The format of messages.
        renames: Pairs of a field and the key it has in the records, where they differ.
        transcripts: True takes strings without `prompt`, which are learnt whole: `markers.Marked` says what of it
            is. False (default) refuses them.

    >>> from fastcollate.templates.chat import ChatFormat
    >>> record = {"prompt": "2+2? ", "chosen": "4", "rejected": "5"}
    >>> [(d.group, d.segments[1].text) for d in PreferenceTemplate(ChatFormat("none", ())).documents(record)]
    [(0, '4'), (0, '5')]
    """

    chat: OfConversations
    renames: tuple[tuple[str, str], ...] = ()
    transcripts: bool = False

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        return "preference" if self.chat.name == "chatml" else f"preference_{self.chat.name}"

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        content = json.dumps([self.name, self.chat.fingerprint, self.renames, self.transcripts])
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
        answers = [given(record, keys[name]) for name in ("chosen", "rejected")]
        for name, answer in zip(("chosen", "rejected"), answers, strict=True):
            if answer is None:
                raise InputError(
                    f'field "{keys[name]}" is missing ({having(record)}): a preference has "prompt", "chosen" and '
                    f'"rejected"; say which key holds it with fields={{"{name}": ...}} (--fields {name}=...)',
                    reason="missing_field",
                )
        prompt = given(record, keys["prompt"])
        messages = next((key for key in MESSAGE_KEYS if given(record, key) is not None), None)
        plain = messages is None and not any(map(holds_messages, answers))
        if plain and prompt is None:
            return self._whole(answers)
        if plain and not holds_messages(prompt):
            for name in ("system", "tools"):
                if beside := given(record, keys[name]):
                    raise InputError(
                        f'"{keys[name]}" is {short(beside)} beside a plain prompt: put it into the prompt, or '
                        "make both lists of messages",
                        reason="unknown_shape",
                    )
            return [Document([Segment(str(prompt)), Segment(str(answer), 1.0)], 0) for answer in answers]
        shared, tools = _asked(record, prompt, messages, keys)
        sides = [
            _answer_turns(answer, keys[name]) for answer, name in zip(answers, ("chosen", "rejected"), strict=True)
        ]
        return [Document(self.chat.segments(Conversation(turns, tools)), 0) for turns in _completed(shared, sides)]

    def _whole(self, answers: Sequence[object]) -> list[Document]:
        if not self.transcripts:
            raise InputError(
                'the record has "chosen" and "rejected" without "prompt": say which key holds it with '
                'fields={"prompt": ...} (--fields prompt=...), or where answers begin in a transcript with '
                'response_marker= (--response-marker), such as "\\n\\nAssistant:"',
                reason="missing_field",
            )
        return [Document([Segment(str(answer), 1.0)], 0) for answer in answers]


def _asked(
    record: Mapping[str, Any], prompt: object, messages: str | None, keys: Mapping[str, str]
) -> Conversation:
    """Return the turns of the prompt, a system text among them, and the tools."""
    if messages is None and prompt is None:
        messages, prompt = keys["prompt"], [{"role": "user", "content": "-"}]  # for system and tools alone
        beside = read_conversation({**record, messages: prompt}, {**keys, "messages": messages})
        return Conversation(beside.turns[:-1], beside.tools)
    if messages is None:
        messages = keys["prompt"]
        prompt = [{"role": "user", "content": prompt}] if not holds_messages(prompt) else prompt
        record = {**record, messages: prompt}
    return read_conversation(record, {**keys, "messages": messages})


def holds_messages(value: object) -> bool:
    """Return whether a value is no text: it is a list of messages, or the JSON of one.

    >>> holds_messages("Hi."), holds_messages('[{"role": "user", "content": "Hi."}]')
    (False, True)
    """
    return not isinstance(value, str) or _OF_MESSAGES.match(value) is not None


def _answer_turns(answer: object, key: str) -> tuple[Turn, ...]:
    if not holds_messages(answer):
        answer = [{"role": "assistant", "content": answer}]
    return read_turns([answer] if isinstance(answer, Mapping) else answer, key)


def _completed(prompt: tuple[Turn, ...], sides: Sequence[tuple[Turn, ...]]) -> list[tuple[Turn, ...]]:
    """Return both conversations: the prompt, unless an answer repeats it or both begin alike, is not learnt."""
    system = tuple(turn for turn in prompt if turn.place < 0)
    asked = [_said(turn) for turn in prompt if turn.place >= 0]
    if asked == [_said(turn) for turn in sides[0]]:  # the messages are the chosen conversation once more
        prompt, asked = system, []
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
class CompletionTemplate:
    """`CompletionTemplate` takes `prompt` and `completion` as lists of messages; the completion alone is learnt.

    Args:
        chat: The format of messages.
        renames: Pairs of a field and the key it has in the records, where they differ.

    >>> from fastcollate.templates.chat import ChatFormat
    >>> record = {"prompt": [{"role": "user", "content": "2+2?"}],
    ...           "completion": [{"role": "assistant", "content": "4"}]}
    >>> template = CompletionTemplate(ChatFormat("plain", (("user", "Q: ", " "), ("assistant", "A: ", ""))))
    >>> [(segment.text, segment.weight) for segment in template.documents(record)[0].segments]
    [('Q: 2+2? A: ', 0.0), ('4', 1.0)]
    """

    chat: OfConversations
    renames: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template: its format of messages."""
        return self.chat.name

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        content = json.dumps(["completion", self.chat.fingerprint, self.renames])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        keys = dict(self.renames)
        return frozenset(keys.get(name, name) for name in _COMPLETION)

    def training_on(self, train_on: str) -> CompletionTemplate:
        """Return the same template with fewer turns learnt, as `OfConversations.training_on`."""
        return replace(self, chat=self.chat.training_on(train_on))

    def renamed(self, names: Mapping[str, str]) -> CompletionTemplate:
        """Return the same template for records with other keys.

        Raises:
            InputError: A field is unknown, or a key is no string (`unknown_field`).
        """
        return replace(self, renames=renaming(self.name, self.renames, names, _COMPLETION))

    def documents(self, record: Mapping[str, Any]) -> list[Document]:
        """Return the conversation of one record as one document.

        Raises:
            InputError: The record has no prompt or no completion, or one that cannot be written.
        """
        keys = {name: name for name in _COMPLETION} | dict(self.renames)
        for name in ("prompt", "completion"):
            if given(record, keys[name]) is None:
                raise InputError(f'field "{keys[name]}" is missing ({having(record)})', reason="missing_field")
        asked, tools = _asked(record, record[keys["prompt"]], None, keys)
        said = sum(turn.place >= 0 for turn in asked)
        answer = _answer_turns(record[keys["completion"]], keys["completion"])
        turns = [turn._replace(weight=0.0) for turn in asked]
        turns += [turn._replace(place=turn.place + said) for turn in answer]
        return [Document(self.chat.segments(Conversation(tuple(turns), tools)))]


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
