"""Templates of sections with fields: how the fields of a record become one text, and what of it is learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from string import Formatter
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.built_in import BUILT_IN
from fastcollate.templates.segments import Document, Segment

__all__ = ["Part", "PromptTemplate"]


@dataclass(frozen=True, slots=True)
class Part:
    r"""`Part` is a section of a template: literal text with `{field}` placeholders (`{{` and `}}` are braces).

    Args:
        text: The section; between its braces stand plain names, without attribute, index, conversion or format.
        supervised: True makes a model learn to write this section, False (default) does not.
        when: A field without which (missing, None or "") the section is left out; none by default.
        unless: A field with which the section is left out; none by default.

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
    r"""`PromptTemplate` makes one text of a record: its sections, one after another with nothing between them.

    A field is optional if every part that mentions it has `when=` that field (missing, None and "" then
    leave the part out); any other field must be a string in every record.

    Args:
        name: What error messages and a store's manifest call the template.
        parts: The sections in order.
        renames: Pairs of a field and the key it has in the records, where they differ; `renamed` makes them.

    Raises:
        InputError: There are no parts.

    >>> template = PromptTemplate("qa", (Part("Q: {q}\nA: "), Part("{a}", supervised=True)))
    >>> (document,) = template.documents({"q": "2 + 2?", "a": "4"})
    >>> [(segment.text, segment.weight) for segment in document.segments]
    [('Q: 2 + 2?\nA: ', 0.0), ('4', 1.0)]
    """

    name: str
    parts: tuple[Part, ...]
    renames: tuple[tuple[str, str], ...] = ()
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
        optional = tuple(name for name in _unique(conditions) if name not in required)
        keys = dict(self.renames)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "_keys", tuple((name, keys.get(name, name)) for name in required + optional))

    @classmethod
    def named(cls, name: str) -> PromptTemplate:
        """Return the built-in template of that name.

        Raises:
            InputError: There is none.

        >>> PromptTemplate.named("alpaca").required, PromptTemplate.named("alpaca").optional
        (('instruction', 'output'), ('input',))
        """
        if name not in BUILT_IN:
            near = get_close_matches(str(name), BUILT_IN, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise InputError(
                f"template {_short(name)} is unknown: use one of {', '.join(sorted(BUILT_IN))}, "
                f"or a PromptTemplate of your own{hint}",
                reason="unknown_template",
            )
        return cls(name, tuple(Part(**part) for part in BUILT_IN[name]))

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with the name, the parts and the renamed keys.

        >>> PromptTemplate.named("text").fingerprint[:8], PromptTemplate.named("alpaca").fingerprint[:8]
        ('13663374', '20ea2d6e')
        """
        parts = [(part.text, part.supervised, part.when, part.unless) for part in self.parts]
        content = json.dumps([self.name, parts, self._keys])
        return hashlib.sha256(content.encode()).hexdigest()

    def renamed(self, fields: Mapping[str, str]) -> PromptTemplate:
        """Return the same template for records that call its fields otherwise.

        Args:
            fields: The key of the records for each field whose name differs: `{"output": "answer"}`.

        Raises:
            InputError: `fields` names a field this template does not have, or a key that is no string
                (`unknown_field`).

        >>> template = PromptTemplate.named("prompt_completion").renamed({"prompt": "question"})
        >>> template.documents({"question": "2 + 2 = ", "completion": "4"})[0].segments[0].text
        '2 + 2 = '
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
        return replace(self, renames=tuple((dict(self.renames) | dict(fields)).items()))

    def documents(self, record: Mapping[str, Any]) -> list[Document]:
        """Return the text of one record as one document, with a segment for each part that applies.

        Args:
            record: The values to fill in; text in a value is never read as a template.

        Raises:
            InputError: A required field is missing (`missing_field`), or a field is not a string (`not_string`).
        """
        values = {"": ""}  # "" follows a literal that no field follows
        for name, key in self._keys:
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
            segments.append(Segment(text, weight=float(part.supervised)))
        return [Document(segments)]

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
