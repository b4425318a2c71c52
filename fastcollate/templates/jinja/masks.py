"""Text of messages that spells a special token, hidden while a template is rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any

__all__ = ["Masks"]


class Masks:
    """Digits in the place of special tokens' names: a message that spells one can be told from the template.

    Args:
        control: What the names look like.
        messages: The messages, and then the tools.
        around: Text in which the digits must not occur.
    """

    def __init__(self, control: re.Pattern[str], messages: Sequence[Any], around: str) -> None:
        self.control = control
        self.salt = next(salt for n in count() if (salt := f"7301{(n + 1) * 48611:09d}") not in around)
        self.spelt = sorted({(i, name) for i, message in enumerate(messages) for name in self._names(message)})

    def applied(self, messages: Sequence[Any], only: Collection[tuple[int, str]]) -> list[Any]:
        """Return the messages with some names hidden."""
        numbers = {place: n for n, place in enumerate(self.spelt) if place in only}

        def hidden(message: Any, i: int) -> Any:
            def name(found: re.Match[str]) -> str:
                number = numbers.get((i, found[0]))
                return found[0] if number is None else f"{self.salt}{number:06d}"

            return _changed(message, lambda text: self.control.sub(name, text))

        return [hidden(message, i) for i, message in enumerate(messages)]

    def undone(self, text: str) -> str:
        """Return a text with the names in their places."""
        if not self.spelt or self.salt not in text:
            return text
        return re.sub(self.salt + "([0-9]{6})", lambda found: self.spelt[int(found[1])][1], text)

    def _names(self, message: Any) -> set[str]:
        found: set[str] = set()

        def look(text: str) -> str:
            found.update(name[0] for name in self.control.finditer(text))
            return text

        _changed(message, look)
        return found


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON with every string in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(entry, change) for entry in value]
    if isinstance(value, dict):
        return {change(key): _changed(entry, change) for key, entry in value.items()}
    return value
