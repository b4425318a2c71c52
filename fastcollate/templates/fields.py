"""Templates of sections with fields: how the fields of a record become one text, and what of it is learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, product
from operator import itemgetter
from string import Formatter
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.built_in import BUILT_IN
from fastcollate.templates.segments import Document, Segment
from fastcollate.templates.wording import having, is_nan, nearest, renaming, short

__all__ = ["Part", "PromptTemplate"]


_make = tuple.__new__
_Pick = Callable[[Sequence[str]], Any]
_Runs = tuple[tuple[str, _Pick, float], ...]


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
                raise InputError(f"{short(name)} is not a field: when= and unless= take one plain name")

    @property
    def mentions(self) -> tuple[str, ...]:
        """The fields between the braces, in order."""
        return tuple(name for _, name in self.pieces if name)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    r"""`PromptTemplate` makes one text of a record: its sections, one after another with nothing between them.

    A field is optional if every part that mentions it has `when=` that field (missing, None and "" then
    leave the part out, as NaN does, which pandas writes for nothing); any other field must be a string in every
    record.

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
    _conditions: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _runs: dict[tuple[bool, ...], _Runs] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError(f"template {short(self.name)} has no parts: give at least one Part")
        required = _unique(name for part in self.parts for name in part.mentions if name != part.when)
        conditions = _unique(name for part in self.parts for name in (part.when, part.unless) if name is not None)
        optional = tuple(name for name in conditions if name not in required)
        keys, names = dict(self.renames), required + optional
        if len(conditions) > 8:
            raise InputError(
                f"template {short(self.name)} has {len(conditions)} conditions: at most 8 can be used"
            )
        runs = {
            given: self._runs_with(names, dict(zip(conditions, given, strict=True))) for given in _all(conditions)
        }
        made = {
            "required": required,
            "optional": optional,
            "_keys": tuple((name, keys.get(name, name)) for name in names),
            "_conditions": tuple(map(names.index, conditions)),
            "_runs": runs,
        }
        for attribute, value in made.items():
            object.__setattr__(self, attribute, value)

    def __reduce__(self) -> tuple[object, ...]:
        return PromptTemplate, (self.name, self.parts, self.renames)

    def _runs_with(self, names: Sequence[str], given: Mapping[str, bool]) -> _Runs:
        """Return what a record with these fields becomes: neighbouring parts of one weight are written at once."""
        parts = [
            part
            for part in self.parts
            if (part.when is None or given[part.when]) and not (part.unless is not None and given[part.unless])
        ]
        runs = []
        for supervised, group in groupby(parts, key=lambda part: part.supervised):
            pieces = [piece for part in group for piece in part.pieces]
            form = "".join(literal.replace("%", "%%") + ("%s" if name else "") for literal, name in pieces)
            places = [names.index(name) for _, name in pieces if name]
            pick = itemgetter(*places) if places else _nothing
            runs.append((form, pick, float(supervised)))
        return tuple(runs)

    @classmethod
    def named(cls, name: str) -> PromptTemplate:
        """Return the built-in template of that name.

        Raises:
            InputError: There is none.

        >>> PromptTemplate.named("alpaca").required, PromptTemplate.named("alpaca").optional
        (('instruction', 'output'), ('input',))
        """
        if name not in BUILT_IN:
            raise InputError(
                f"template {short(name)} is unknown: use one of {', '.join(sorted(BUILT_IN))}, "
                f"or a PromptTemplate of your own{nearest(name, BUILT_IN)}",
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

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read.

        >>> sorted(PromptTemplate.named("alpaca").keys)
        ['input', 'instruction', 'output']
        """
        return frozenset(key for _, key in self._keys)

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
        return replace(self, renames=renaming(self.name, self.renames, fields, known))

    def documents(self, record: Mapping[str, Any]) -> list[Document]:
        """Return the text of one record as one document; neighbouring parts of one kind share a segment.

        Args:
            record: The values to fill in; text in a value is never read as a template.

        Raises:
            InputError: A required field is missing (`missing_field`), or a field is not a string (`not_string`).
        """
        get = record.get
        values: list[Any] = [get(key) for _, key in self._keys]
        for i, value in enumerate(values):
            if value.__class__ is not str:
                values[i] = self._string(*self._keys[i], record)
        runs = self._runs[tuple([values[i] != "" for i in self._conditions]) if self._conditions else ()]
        # A NamedTuple's own constructor takes twice as long, and this is done for every record.
        segments = [_make(Segment, (form % pick(values), weight, False)) for form, pick, weight in runs]
        return [_make(Document, (segments, None))]

    def _string(self, name: str, key: str, record: Mapping[str, Any]) -> str:
        value = record.get(key)
        if isinstance(value, str):
            return value
        if (value is None or is_nan(value)) and name not in self.required:
            return ""
        raise self._field_error(name, key, record)

    def _field_error(self, name: str, key: str, record: Mapping[str, Any]) -> InputError:
        value = record.get(key)
        if value is not None and not is_nan(value):
            return InputError(
                f"field {short(key)} is of type {type(value).__name__} ({short(value)}): "
                f'template "{self.name}" takes strings; convert it first',
                reason="not_string",
            )
        found = f"is {'null' if value is None else 'NaN'}" if key in record else f"is missing ({having(record)})"
        return InputError(
            f'field {short(key)} {found}: template "{self.name}" needs it in every record; '
            f'add it, or say which key holds it with fields={{"{name}": ...}} (--fields {name}=...)',
            reason="missing_field",
        )


def _parse(text: str) -> tuple[tuple[str, str], ...]:
    """Split at the placeholders, with Python's own grammar for `{name}`, `{{` and `}}`."""
    try:
        parsed = list(Formatter().parse(text))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the template text {short(text)} is broken ({error}): write {{field}} for a field and "
            "double a brace to mean the brace itself"
        ) from error
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not _is_plain(name)):
            raise InputError(
                f"the template text {short(text)} has a placeholder that is not a plain name "
                f"({short(name)}): write {{field}}, without attribute, index, conversion or format, "
                "and double a brace to mean the brace itself"
            )
    return tuple((literal, name or "") for literal, name, _, _ in parsed)


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _nothing(_: Sequence[str]) -> tuple[str, ...]:
    """Pick no field."""
    return ()


def _all(conditions: Sequence[str]) -> Iterable[tuple[bool, ...]]:
    return product((False, True), repeat=len(conditions))
