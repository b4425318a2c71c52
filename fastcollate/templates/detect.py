"""Which template the keys of records ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fastcollate.errors import InputError
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Template
from fastcollate.templates.turns import MESSAGE_KEYS
from fastcollate.templates.wording import given, having

__all__ = ["Found", "detect"]


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


def _has_pair(record: Mapping[str, Any], present: Collection[str]) -> bool:
    """Tell whether two answers have a prompt: their own messages, or another field."""
    return not isinstance(record["chosen"], str) or any(key in present for key in ("prompt", *MESSAGE_KEYS))


def _is_chat(record: Mapping[str, Any], present: Collection[str]) -> bool:  # noqa: ARG001  # as the others
    """Tell whether the messages are all there is: beside two answers they are their prompt."""
    return not ("chosen" in present and "rejected" in present)


_SHAPES = (
    _Shape("tokens", ("input_ids",)),
    _Shape("preference", ("chosen", "rejected"), _has_pair),
    _Shape("chatml", ("messages",), _is_chat),
    _Shape("chatml", ("conversations",), _is_chat),
    _Shape("instances", ("instruction", "instances")),
    _Shape("alpaca", ("instruction", "output")),
    _Shape("dolly", ("instruction", "response")),
    _Shape("prompt_completion", ("prompt", "completion")),
    _Shape("question_answer", ("question", "answer")),
    _Shape("text", ("text",)),
)


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
    found = [shape for shape in counts if counts[shape] == most]
    if len(found) > 1:
        raise _several_shapes(records, found)
    (shape,) = found
    template = load_template(shape.template)
    keys = ", ".join(shape.keys)
    return Found(template, f"template: {template.name}, told by {keys} (--template or template= chooses another)")


def _present(record: Mapping[str, Any]) -> set[str]:
    """Return the keys under which a record has something."""
    return {key for key in record if given(record, key) is not None}


def _fitting(record: Mapping[str, Any]) -> list[_Shape]:
    present = _present(record)
    return [
        shape
        for shape in _SHAPES
        if present.issuperset(shape.keys) and (shape.fits is None or shape.fits(record, present))
    ]


def _no_shape(record: Mapping[str, Any]) -> InputError:
    present = _present(record)
    near = sorted(_SHAPES, key=lambda shape: -len(present.intersection(shape.keys)) / len(shape.keys))
    shown = " or ".join(f"{shape.template} ({', '.join(shape.keys)})" for shape in near[:3])
    return InputError(
        f"the record fits no template ({having(record)}): the nearest are {shown}; say which with template= "
        "(--template), and which keys hold its fields with fields= (--fields)",
        reason="unknown_shape",
    )


def _several_shapes(records: Sequence[Mapping[str, Any]], found: Sequence[_Shape]) -> InputError:
    shown = " and ".join(f"{shape.template} ({', '.join(shape.keys)})" for shape in found)
    record = next(record for record in records if found[0] in _fitting(record))
    return InputError(
        f"the record fits several templates: {shown} ({having(record)}): say which with template= (--template)",
        reason="unknown_shape",
    )
