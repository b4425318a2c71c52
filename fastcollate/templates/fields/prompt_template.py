"""How the fields of a record become one text, and what of it is learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, product
from operator import itemgetter
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.built_in import BUILT_IN
from fastcollate.templates.fields.many_records import Piece, Run, columns_of_fields, texts_of_columns
from fastcollate.templates.fields.parts import Part
from fastcollate.templates.segments import Document, Segment, Texts
from fastcollate.templates.wording import having, is_nan, nearest, renaming, short

__all__ = ["PromptTemplate"]

_make = tuple.__new__


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
    _runs: dict[tuple[bool, ...], tuple[Run, ...]] = field(init=False, repr=False, compare=False)
    _pieces: tuple[Piece, ...] = field(init=False, repr=False, compare=False)

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
            "_pieces": tuple(_pieces_of(self.parts, names)),
        }
        for attribute, value in made.items():
            object.__setattr__(self, attribute, value)

    def __reduce__(self) -> tuple[object, ...]:
        return PromptTemplate, (self.name, self.parts, self.renames)

    def _runs_with(self, names: Sequence[str], given: Mapping[str, bool]) -> tuple[Run, ...]:
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
            places = [names.index(name) if name else None for _, name in pieces]
            fields = [place for place in places if place is not None]
            pick = itemgetter(*fields) if fields else _nothing
            literals = [literal for literal, _ in pieces]
            runs.append(Run(form, pick, float(supervised), tuple(zip(literals, places, strict=True))))
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
        segments = [_make(Segment, (form % pick(values), weight, False)) for form, pick, weight, _ in runs]
        return [_make(Document, (segments, None))]

    def texts(self, records: Sequence[Mapping[str, Any]]) -> Texts | None:
        """Return the documents of many records, one of each, in a fraction of the time.

        None is returned where one of them must be looked at alone, and where the template has no fields.

        >>> texts = PromptTemplate.named("prompt_completion").texts([{"prompt": "2 + 2 =", "completion": " 4"}])
        >>> texts.texts, texts.sizes, texts.weights
        (['2 + 2 = 4'], array([7, 2]), array([0., 1.], dtype=float32))
        """
        columns = columns_of_fields(records, self._keys, frozenset(self.optional)) if self._keys else None
        return None if columns is None else texts_of_columns(columns, self._conditions, self._runs, self._pieces)

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


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _pieces_of(parts: Sequence[Part], names: Sequence[str]) -> Iterator[Piece]:
    def place(name: str | None) -> int | None:
        return names.index(name) if name else None

    for part in parts:
        for literal, name in part.pieces:
            yield Piece(literal, place(name), place(part.when), place(part.unless))


def _nothing(_: Sequence[str]) -> tuple[str, ...]:
    """Pick no field."""
    return ()


def _all(conditions: Sequence[str]) -> Iterable[tuple[bool, ...]]:
    return product((False, True), repeat=len(conditions))
