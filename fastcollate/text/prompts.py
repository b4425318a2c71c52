"""Templates: how the fields of a record become one text, and which parts of that text are learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import Formatter
from typing import Any, NamedTuple

from fastcollate.errors import InputError

__all__ = ["Part", "PromptTemplate", "Segment"]


class Segment(NamedTuple):
    """A stretch of a record's text, and whether a model learns to write it.

    >>> Segment("2 + 2 is ", supervised=False), Segment("4", supervised=True)
    (Segment(text='2 + 2 is ', supervised=False), Segment(text='4', supervised=True))
    """

    text: str
    supervised: bool


@dataclass(frozen=True, slots=True)
class Part:
    r"""A section of a template: literal text with `{field}` placeholders (`{{` and `}}` are braces).

    Args:
        text: plain names only between the braces: no attribute, index, conversion or format.
        supervised: whether a model learns to write this section.
        when: leave the section out unless this field is present and not empty.
        unless: leave the section out if this field is present and not empty.

    Raises:
        InputError: `text` is not such a text, or `when` or `unless` is not a plain name.

    >>> Part("Q: {question}\n{{}}", when="question").pieces
    (('Q: ', 'question'), ('\n{', ''), ('}', ''))
    """

    text: str
    supervised: bool = False
    when: str | None = None
    unless: str | None = None
    pieces: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    """What `text` was parsed into: (literal, name of the field that follows it, or "")."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", _parse(self.text))
        for name in (self.when, self.unless):
            if name is not None and not _is_plain(name):
                raise InputError(f"{_short(name)} is not a field: when= and unless= take one plain name")

    @property
    def mentions(self) -> tuple[str, ...]:
        """The fields between the braces, in order."""
        return tuple(name for _, name in self.pieces if name)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    r"""The sections a record's text is made of, one after another with nothing between them.

    A field is optional if every part that mentions it has `when=` that field (missing, None and "" then
    leave the part out); any other field must be a string in every record.

    Args:
        name: what error messages and a store's manifest call it.
        parts: the sections in order.

    Raises:
        InputError: there are no parts.

    >>> template = PromptTemplate("qa", (Part("Q: {q}\nA: "), Part("{a}", supervised=True)))
    >>> template.segments({"q": "2 + 2?", "a": "4"})
    [Segment(text='Q: 2 + 2?\nA: ', supervised=False), Segment(text='4', supervised=True)]
    """

    name: str
    parts: tuple[Part, ...]
    required: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The fields every record must have as a string (an empty one will do)."""
    optional: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The fields a record may lack."""
    _keys: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError(f"template {_short(self.name)} has no parts: give at least one Part")
        required = _unique(name for part in self.parts for name in part.mentions if name != part.when)
        conditions = (name for part in self.parts for name in (part.when, part.unless) if name is not None)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "optional", tuple(n for n in _unique(conditions) if n not in required))
        object.__setattr__(self, "_keys", tuple((name, name) for name in self.required + self.optional))

    @classmethod
    def named(cls, name: str) -> PromptTemplate:
        """The built-in template of that name.

        Raises:
            InputError: there is none.

        >>> PromptTemplate.named("alpaca").required, PromptTemplate.named("alpaca").optional
        (('instruction', 'output'), ('input',))
        """
        if name not in _BUILT_IN:
            near = get_close_matches(str(name), _BUILT_IN, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise InputError(
                f"template {_short(name)} is unknown: use one of {', '.join(sorted(_BUILT_IN))}, "
                f"or a PromptTemplate of your own{hint}",
                reason="unknown_template",
            )
        return cls(name, _BUILT_IN[name])

    def segments(self, record: Mapping[str, Any], *, fields: Mapping[str, str] | None = None) -> list[Segment]:
        """The text of one record, one segment for each part that applies to it.

        Args:
            record: what is filled in; text in it is never read as a template.
            fields: the record's own name for a field, where it differs: `{"output": "answer"}`.

        Raises:
            InputError: a required field is missing (`missing_field`), a field is not a string (`not_string`),
                or `fields` names a field this template does not have (`unknown_field`).

        >>> PromptTemplate.named("prompt_completion").segments(
        ...     {"question": "2 + 2 = ", "completion": "4"}, fields={"prompt": "question"}
        ... )
        [Segment(text='2 + 2 = ', supervised=False), Segment(text='4', supervised=True)]
        """
        values = {"": ""}  # "" follows a literal that no field follows
        for name, key in self._keys if fields is None else self.field_keys(fields):
            value = record.get(key)
            if isinstance(value, str):
                values[name] = value
            elif value is None and name not in self.required:
                values[name] = ""
            else:
                raise self._field_error(name, key, record)
        segments = []
        for part in self.parts:
            if (part.when and not values[part.when]) or (part.unless and values[part.unless]):
                continue
            text = ""
            for literal, name in part.pieces:
                text += literal + values[name]
            segments.append(Segment(text, part.supervised))
        return segments

    def field_keys(self, fields: Mapping[str, str]) -> list[tuple[str, str]]:
        """Each field of the template beside the key it has in the records.

        Raises:
            InputError: `fields` names a field the template does not have, or a key that is no string.
        """
        known = [name for name, _ in self._keys]
        for name, key in fields.items():
            if name not in known:
                raise InputError(
                    f'template "{self.name}" has no field {_short(name)}: fields= maps the template\'s own '
                    f"names ({', '.join(known)}) to keys of the records",
                    reason="unknown_field",
                )
            if not isinstance(key, str):
                raise InputError(
                    f'fields["{name}"] is {_short(key)}: it must be a key of the records, a string',
                    reason="unknown_field",
                )
        return [(name, fields.get(name, name)) for name in known]

    def _field_error(self, name: str, key: str, record: Mapping[str, Any]) -> InputError:
        value = record.get(key)
        if value is not None:
            return InputError(
                f"field {_short(key)} is of type {type(value).__name__} ({_short(value)}): "
                f'template "{self.name}" takes strings; convert it first',
                reason="not_string",
            )
        found = "is null" if key in record else f"is missing ({_having(record)})"
        return InputError(
            f'field {_short(key)} {found}: template "{self.name}" needs it in every record; '
            f'add it, or say which key holds it with fields={{"{name}": ...}}',
            reason="missing_field",
        )


def _parse(text: str) -> tuple[tuple[str, str], ...]:
    """Split at the placeholders, with Python's own grammar for `{name}`, `{{` and `}}`."""
    try:
        parsed = list(Formatter().parse(text))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the template text {_short(text)} is broken ({error}): write {{field}} for a field and "
            "double a brace to mean the brace itself"
        ) from error
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not _is_plain(name)):
            raise InputError(
                f"the template text {_short(text)} has a placeholder that is not a plain name "
                f"({_short(name)}): write {{field}}, without attribute, index, conversion or format, "
                "and double a brace to mean the brace itself"
            )
    return tuple((literal, name or "") for literal, name, _, _ in parsed)


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _having(record: Mapping[str, Any]) -> str:
    keys = [_short(key) for key in record]
    listed = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
    return f"the record has {listed}" if keys else "the record is empty"


def _short(value: object) -> str:
    """A value on one line, however long it is, with the quotes JSON gives a string."""
    shown = '"' + repr(value)[1:-1] + '"' if isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


_SHORT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
_PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
_INSTRUCTION = Part("\n\n### Instruction:\n{instruction}")
_INPUT = Part("\n\n### Input:\n{input}", when="input")

_BUILT_IN: dict[str, tuple[Part, ...]] = {
    # The header "### Response:" is learned: one prompts without it and the model writes it.
    "alpaca": (Part(_SHORT), _INSTRUCTION, _INPUT, Part("\n\n### Response:\n{output}", supervised=True)),
    "stanford_alpaca": (
        Part(_PAIRED, when="input"),
        Part(_SHORT, unless="input"),
        _INSTRUCTION,
        _INPUT,
        Part("\n\n### Response:\n"),
        Part("{output}", supervised=True),
    ),
    "prompt_completion": (Part("{prompt}"), Part("{completion}", supervised=True)),
    "text": (Part("{text}", supervised=True),),
}
