"""Which template the keys of records ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fastcollate.errors import InputError
from fastcollate.templates.conversations import OfConversations
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Template
from fastcollate.templates.shapes import CompletionTemplate, PreferenceTemplate, holds_messages
from fastcollate.templates.turns import MESSAGE_KEYS, read_turns
from fastcollate.templates.wording import given, having

__all__ = ["Found", "detect", "fitted"]

_NEARLY = 0.9  # as many records as that leave a choice


class Found(NamedTuple):
    """What was found out.

    Attributes:
        template: The template.
        line: What was found, and how to choose another, for people to read.
    """

    template: Template
    line: str


class _Shape(NamedTuple):
    template: str
    keys: tuple[str, ...]
    """The keys that every record of the shape has."""
    fits: Callable[[Mapping[str, Any], Collection[str]], bool] | None = None
    """What else must hold of a record and the keys under which it has something."""
    fields: tuple[tuple[str, str], ...] = ()
    """The template's fields that such records call otherwise."""
    around: Callable[[OfConversations], Template] | None = None
    """What makes a format of messages a template of such records."""


def _has_pair(record: Mapping[str, Any], present: Collection[str]) -> bool:
    """Tell whether two answers have a prompt: their own messages, or another field."""
    return not isinstance(record["chosen"], str) or any(key in present for key in ("prompt", *MESSAGE_KEYS))


def _is_chat(record: Mapping[str, Any], present: Collection[str]) -> bool:  # noqa: ARG001  # as the others
    """Tell whether the messages are all there is: beside two answers they are their prompt."""
    return not ("chosen" in present and "rejected" in present)


def _is_conversation(record: Mapping[str, Any], present: Collection[str]) -> bool:
    """Tell whether a conversation is one: beside messages it may be their number, or anything."""
    return _is_chat(record, present) and not any(key in present for key in MESSAGE_KEYS[:-1])


def _of_messages(record: Mapping[str, Any], present: Collection[str]) -> bool:  # noqa: ARG001  # as the others
    """Tell whether a prompt or its completion is a list of messages."""
    return any(holds_messages(record[key]) for key in ("prompt", "completion"))


def _of_texts(record: Mapping[str, Any], present: Collection[str]) -> bool:
    return not _of_messages(record, present)


def _stands_alone(record: Mapping[str, Any], present: Collection[str]) -> bool:  # noqa: ARG001  # as the others
    """Tell whether a text is all there is: in a table of messages, such as OASST's, it is a turn of a tree."""
    return not record.keys() >= {"role", "parent_id"}


_SHAPES = (
    _Shape("tokens", ("input_ids",)),
    _Shape("preference", ("chosen", "rejected"), _has_pair, around=PreferenceTemplate),
    *(_Shape("chatml", (key,), _is_chat) for key in MESSAGE_KEYS[:-1]),
    _Shape("chatml", MESSAGE_KEYS[-1:], _is_conversation),
    _Shape("chatml", ("prompt", "completion"), _of_messages, around=CompletionTemplate),
    _Shape("instances", ("instruction", "instances")),
    _Shape("alpaca", ("instruction", "output")),
    _Shape("dolly", ("instruction", "response")),
    _Shape("prompt_completion", ("prompt", "completion"), _of_texts),
    _Shape("prompt_completion", ("prompt", "response"), fields=(("completion", "response"),)),
    _Shape("question_answer", ("question", "answer")),
    _Shape("question_answer", ("query", "response"), fields=(("question", "query"), ("answer", "response"))),
    _Shape("orca", ("question", "response")),
    _Shape("text", ("text",), _stands_alone),
)

_PAIR = next(shape for shape in _SHAPES if shape.template == "preference")
_USUAL = tuple(shape for shape in _SHAPES if shape.keys in (("messages",), ("instruction", "output"), ("text",)))


def detect(records: Sequence[Mapping[str, Any]]) -> Found:
    """Return the template that most of the records fit.

    Args:
        records: The first records of a source; a few are enough.

    Raises:
        InputError: There are no records (`empty`), or they fit no shape or several (`unknown_shape`).

    >>> detect([{"question": "2+2?", "answer": "4"}]).line
    'template: question_answer, told by question, answer (--template or template= chooses another)'
    """
    if not records:
        raise InputError("the source holds no record to tell the template by", reason="empty")
    counts = Counter(shape for record in records for shape in _fitting(record))
    if not counts:
        raise _no_shape(records[0])
    most = max(counts.values())
    found = [shape for shape in counts if counts[shape] >= _NEARLY * most]
    if len(found) > 1:
        raise _several_shapes(records, found)
    (shape,) = found
    template: Any = load_template(shape.template)
    if shape.fields:
        template = template.renamed(dict(shape.fields))
    if shape.around is not None and isinstance(template, OfConversations):
        template = shape.around(template)
    keys = ", ".join(shape.keys)
    return Found(template, f"template: {template.name}, told by {keys} (--template or template= chooses another)")


def fitted(template: Template, records: Sequence[Mapping[str, Any]]) -> Template:
    """Return a format of messages as a template of what most of the records hold: pairs, or prompt and completion.

    Any other template is returned as it is.

    >>> turns = [{"role": "user", "content": "2+2?"}], [{"role": "assistant", "content": "4"}]
    >>> type(fitted(load_template("llama3"), [dict(zip(("prompt", "completion"), turns))])).__name__
    'CompletionTemplate'
    """
    if not isinstance(template, OfConversations):
        return template
    of_messages = [record for record in records if not isinstance(record.get("chosen"), str)]
    counts = Counter(shape.around for record in of_messages for shape in _fitting(record) if _is_of_turns(shape))
    around = counts.most_common(1)[0][0] if counts else None
    return template if around is None else around(template)


def _is_of_turns(shape: _Shape) -> bool:
    return shape.around is not None or shape.keys[0] in MESSAGE_KEYS


def _present(record: Mapping[str, Any]) -> set[str]:
    """Return the keys under which a record has something."""
    return {key for key in record if given(record, key) is not None}


def _fitting(record: Mapping[str, Any]) -> list[_Shape]:
    present = _present(record)
    found = [
        shape
        for shape in _SHAPES
        if present.issuperset(shape.keys) and (shape.fits is None or shape.fits(record, present))
    ]
    if len(found) > 1:
        return _without_repeats(record, found)
    # Answers without a prompt may be transcripts; that they need markers is the template's to say.
    return found or [_PAIR] * present.issuperset(_PAIR.keys)


def _without_repeats(record: Mapping[str, Any], found: list[_Shape]) -> list[_Shape]:
    """Return the shapes without those that a record has twice.

    That are fields which its messages repeat, and a text that its fields were written into.
    """
    chat = next((shape for shape in found if shape.keys[0] in MESSAGE_KEYS), None)
    if chat is not None:
        try:
            texts = [turn.text for turn in read_turns(record[chat.keys[0]], "")]
        except InputError:  # which the template will say
            texts = []
        return [shape for shape in found if shape is chat or not _repeats(texts, record, shape)]
    others = [shape for shape in found if shape.template != "text"]
    return others if any(_repeats([str(record.get("text"))], record, shape) for shape in others) else found


def _repeats(texts: Sequence[str], record: Mapping[str, Any], shape: _Shape) -> bool:
    """Return whether all that a record has of a shape stands in some texts too."""
    values = [record[key] for key in shape.keys]
    return all(isinstance(value, str) and any(value.strip() in text for text in texts) for value in values)


def _no_shape(record: Mapping[str, Any]) -> InputError:
    present = {key.lower() for key in _present(record)}
    near = sorted(_SHAPES, key=lambda shape: -len(present.intersection(shape.keys)) / len(shape.keys))
    near = [shape for shape in near if present.intersection(shape.keys)] or list(_USUAL)
    shown = " or ".join(f"{shape.template} ({', '.join(shape.keys)})" for shape in near[:3])
    inner = next((key for key, value in record.items() if isinstance(value, dict) and _is_sure(value)), None)
    advice = (
        "say which with template= (--template), and which keys hold its fields with fields= (--fields)"
        if inner is None
        else f'the value of "{inner}" is a record that fits: take it out of each, by jq -c \'.["{inner}"]\''
    )
    return InputError(
        f"the record fits no template ({having(record)}): the nearest are {shown}; {advice}",
        reason="unknown_shape",
    )


def _is_sure(record: Mapping[str, Any]) -> bool:
    """Return whether a record fits a shape; a text alone may be anything."""
    return any(shape.template != "text" for shape in _fitting(record))


def _several_shapes(records: Sequence[Mapping[str, Any]], found: Sequence[_Shape]) -> InputError:
    shown = " and ".join(f"{shape.template} ({', '.join(shape.keys)})" for shape in found)
    both = next((record for record in records if all(shape in _fitting(record) for shape in found)), None)
    what = (
        f"the record fits several templates: {shown} ({having(both)})"
        if both is not None
        else f"the first records fit different templates, about as many each: {shown}"
    )
    return InputError(f"{what}: say which with template= (--template)", reason="unknown_shape")
