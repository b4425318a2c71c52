"""The sections of a template."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import Formatter

from fastcollate.errors import InputError
from fastcollate.templates.wording import short

__all__ = ["Part"]


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
