"""JSON text as Python values: as fast as the parser that is installed, and the same with either.

`orjson` (the extra `fast`) is used where it is installed, else `json`. What one of them would accept, refuse or
read otherwise than the other is found by counts over the bytes, and then read by `json` with every check: a key
that an object has twice, a lone surrogate, an integer beyond 64 bits, `NaN` and `Infinity`, deep nesting.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEEPEST", "UnreadableError", "agreed", "load_all", "load_each", "load_elements", "load_lines"]

DEEPEST = 256
"""The most levels of objects and lists in a record; parsers differ, so the rule is ours."""

_FEW = 16  # pieces that are looked at one by one when one of them must be
_COLON, _COMMA, _QUOTE, _BACKSLASH, _BRACE, _BRACKET, _CLOSING_BRACKET, _LINE_FEED = b':,"\\{[]\n'
_IS_BLANK = np.isin(np.arange(256), list(b" \t\r\n"))
_NESTED = frozenset({dict, list})
_LONG_INTEGER = re.compile(rb"[0-9]{19}")  # the shortest that may not fit into 64 bits with its sign
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class UnreadableError(ValueError):
    """What keeps a piece of text from being a JSON value.

    Attributes:
        reason: The word for it, from `InputError`'s table.
        at: The byte (or, for a duplicate key and a lone surrogate, None) within the piece where it is.
    """

    def __init__(self, why: str, reason: str, at: int | None = None) -> None:
        super().__init__(why)
        self.reason = reason
        self.at = at


def load_all(pieces: Sequence[bytes], text: bytes | None = None) -> list[Any] | None:
    """Return the value of each piece, or None where one of them must be looked at alone.

    Args:
        pieces: The pieces.
        text: The same with line breaks between; None has it made.

    >>> load_all([b'{"a": 1}', b'{"a": {"b": 2}}']), load_all([b'{"a": 1, "a": 2}'])
    ([{'a': 1}, {'a': {'b': 2}}], None)
    """
    try:
        values = list(map(_parser(), pieces))
        return values if agreed(values, b"\n".join(pieces) if text is None else text) else None
    except (ValueError, RecursionError):
        return None


def load_lines(text: bytes) -> list[Any] | None:
    r"""Return the values of lines of flat objects, or None where they are others, or one must be looked at alone.

    They are read as one array. A line break parts two of its elements, and not the parts of one, where there are
    as many elements as lines and as braces that open, and each line begins with one.

    >>> load_lines(b'{"a": 1}\n{"a": [2]}\n'), load_lines(b'{"a": [1\n2]}')
    ([{'a': 1}, {'a': [2]}], None)
    """
    array = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero(array[:-1] == _LINE_FEED)
    lines = len(breaks) + 1
    braces = int(np.count_nonzero(array == _BRACE))
    if array[0] != _BRACE or not (array[breaks + 1] == _BRACE).all() or braces > 2 * lines:
        return None  # too many are not of texts in flat objects
    if braces > lines and _outside(np.flatnonzero(array == _BRACE), _quotes(array)) != lines:
        return None
    brackets = array == _BRACKET
    if np.count_nonzero(brackets) >= DEEPEST and _outside(np.flatnonzero(brackets), _quotes(array)) >= DEEPEST:
        return None
    try:
        values: list[Any] = _parser()(_as_array(text, array, breaks, kept=braces > lines))
    except ValueError:
        return None
    if len(values) != lines or set(map(type, values)) != {dict}:
        return None
    members = sum(map(len, values))
    same = _has_plain_keys(array, members) or _keys(array, _quotes(array)) == members
    return values if same and _is_plain(text, array) else None


def _as_array(
    text: bytes, array: NDArray[np.uint8], breaks: NDArray[np.int64], *, kept: bool
) -> bytes | bytearray:
    """Return the lines as the elements of a JSON array, the breaks beside the commas if they are `kept`.

    So one within a string is refused. Where each brace begins a line, there can be none.
    """
    if kept:
        elements = text.replace(b"\n", b"\n,")
        return b"".join((b"[", memoryview(elements)[: len(elements) - 2 * text.endswith(b"\n")], b"]"))
    made = bytearray(len(text) + 2)
    into = np.frombuffer(made, np.uint8)
    into[1:-1] = array
    into[breaks + 1] = _COMMA
    into[[0, -1]] = _BRACKET, _CLOSING_BRACKET
    return made


def load_elements(text: bytes) -> list[Any] | None:
    """Return the values of text that stands between an array's brackets, or None as `load_all` does.

    >>> load_elements(b'{"a": 1}, {"a": 2}'), load_elements(b'{"a": 1}, {"a"')
    ([{'a': 1}, {'a': 2}], None)
    """
    try:
        values: list[Any] = _parser()(b"[%b]" % text)
        return values if agreed(values, text) else None
    except (ValueError, RecursionError):
        return None


def load_each(pieces: Sequence[bytes]) -> list[Any]:
    """Return the value of each piece, or the `UnreadableError` that says why it has none.

    >>> load_each([b'{"a": NaN, "b": 123456789012345678901}', b'{"a": 1, "a": 2}'])
    [{'a': nan, 'b': 123456789012345678901}, UnreadableError('the key "a" stands twice in one object')]
    """
    found = list[Any]()
    for i in range(0, len(pieces), _FEW):
        few = pieces[i : i + _FEW]
        values = load_all(few)
        found += map(_load_exactly, few) if values is None else values
    return found


def agreed(values: Sequence[Any], text: bytes) -> bool:
    """Tell whether `values` are what every parser makes of `text`; False may also mean that it was hard to tell.

    Raises:
        RecursionError: A value is nested too deeply.
    """
    array = np.frombuffer(text, np.uint8)
    quotes = _quotes(array)
    braces, brackets = (_outside(np.flatnonzero(array == mark), quotes) for mark in (_BRACE, _BRACKET))
    members = _members(values, braces, brackets)
    return _keys(array, quotes) == members and _is_plain(text, array)


def _quotes(array: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The places of the quotes that begin and end strings: those after an even number of backslashes."""
    quotes = np.flatnonzero(array == _QUOTE)
    before = quotes - 1
    escaped = array[before] == _BACKSLASH
    if not escaped.any():
        return quotes
    odd = escaped.copy()
    while escaped.any():
        before = before - escaped
        escaped &= array[before] == _BACKSLASH
        odd ^= escaped
    unescaped: NDArray[np.int64] = quotes[~odd]
    return unescaped


def _outside(places: NDArray[np.int64], quotes: NDArray[np.int64]) -> int:
    """How many of some places are outside strings."""
    return int(np.count_nonzero(np.searchsorted(quotes, places) % 2 == 0))


def _keys(array: NDArray[np.uint8], quotes: NDArray[np.int64]) -> int:
    """How many keys there are: strings before a colon."""
    after = quotes[1::2] + 1
    after = after[:-1] if len(after) and after[-1] == len(array) else after
    blank = _IS_BLANK[array[after]]
    while blank.any():
        after = np.minimum(after + blank, len(array) - 1)
        blank &= _IS_BLANK[array[after]] & (after < len(array) - 1)
    return int(np.count_nonzero(array[after] == _COLON))


def _has_plain_keys(array: NDArray[np.uint8], members: int) -> bool:
    """Whether there are as many keys as members, told by the colons alone; False may mean that it cannot be told.

    A quote before a colon ends a key, unless a string begins with the colon or has both. Where no blank hides a
    key, there are at least as many such quotes as keys, and as many keys as members: so where there are as many
    quotes as members, no key stands twice.
    """
    colons = np.flatnonzero(array == _COLON)
    before = array[colons - 1]
    return np.count_nonzero(before == _QUOTE) == members and not _IS_BLANK[before].any()


def _is_plain(text: bytes, array: NDArray[np.uint8]) -> bool:
    """Whether a text has neither an integer of 19 digits or more nor, for `json`, half of a character."""
    if _parser() is _load_plainly and _SURROGATE_ESCAPE.search(text):
        return False
    # Of every fourth byte of such an integer, four in a row are digits, and so is what lies between.
    digit = (np.ascontiguousarray(array[::4]) - np.uint8(48)) < 10
    starts = 4 * np.flatnonzero(digit[:-3] & digit[1:-2] & digit[2:-1] & digit[3:])
    for step in range(1, 12):
        starts = starts[(array[starts + step] - np.uint8(48)) < 10]
    matches = [_LONG_INTEGER.search(text, max(start - 4, 0), start + 48) for start in starts.tolist()]
    found = np.array([match.start() for match in matches if match], np.int64)
    return not len(found) or not _outside(found, _quotes(array))


def _members(values: Sequence[Any], braces: int, brackets: int) -> int:
    """The members of all objects in some values, counted level by level.

    Args:
        values: The values.
        braces: How many objects there are, on all levels.
        brackets: How many lists there are, likewise.
    """
    count, objects = 0, [value for value in values if type(value) is dict]
    lists = [value for value in values if type(value) is list] if len(objects) < len(values) else []
    for _ in range(DEEPEST):
        count += sum(map(len, objects))
        braces, brackets = braces - len(objects), brackets - len(lists)
        if not (objects or lists) or not (braces or brackets):
            return count
        within = chain.from_iterable(map(dict.values, objects))
        inner = [value for value in chain(within, chain.from_iterable(lists)) if type(value) in _NESTED]
        objects = [value for value in inner if type(value) is dict]
        lists = [value for value in inner if type(value) is list] if len(objects) < len(inner) else []
    raise RecursionError


def _load_plainly(piece: bytes | bytearray) -> Any:
    return json.loads(piece.decode())


@cache
def _parser() -> Callable[[bytes | bytearray], Any]:
    try:
        import orjson  # noqa: PLC0415  # an extra
    except ImportError:
        return _load_plainly
    loads: Callable[[bytes | bytearray], Any] = orjson.loads
    return loads


def _load_exactly(piece: bytes) -> Any:
    """The value of a piece, or an `UnreadableError`."""
    try:
        return _checked(piece)
    except UnreadableError as error:
        return error


def _checked(piece: bytes) -> Any:
    try:
        text = piece.decode()
        value = json.loads(text, object_pairs_hook=_object)
        _members([value], -1, -1)  # and not that deep: -1 is never reached
    except UnicodeDecodeError as error:
        raise UnreadableError("not UTF-8", "not_utf8", error.start) from error
    except json.JSONDecodeError as error:
        raise UnreadableError(error.msg, "not_json", len(text[: error.pos].encode())) from error
    except UnreadableError:
        raise
    except RecursionError as error:
        raise UnreadableError(f"nested too deeply, in more than {DEEPEST} levels", "not_json") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise UnreadableError("an integer has more digits than any number that is meant", "not_json") from error
    if _SURROGATE_ESCAPE.search(piece) and (found := _lone_surrogate(value)):
        raise UnreadableError(
            f"the escape \\u{ord(found):04x} is half of a character, which is no text: write the whole, or none",
            "not_text",
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key in counts if counts[key] > 1)
        raise UnreadableError(f'the key "{twice}" stands twice in one object', "duplicate_key")
    return made


def _lone_surrogate(value: Any) -> str | None:
    """The first lone surrogate in a value's strings and keys; pairs have become characters by now."""
    found = _SURROGATE.search(json.dumps(value, ensure_ascii=False))
    return found[0] if found else None
