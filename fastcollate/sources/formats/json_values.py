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

__all__ = ["DEEPEST", "UnreadableError", "agreed", "load_all", "load_each", "load_elements"]

DEEPEST = 256
"""The most levels of objects and lists in a record; parsers differ, so the rule is ours."""

_FEW = 16  # pieces that are looked at one by one when one of them must be
_COLON, _QUOTE, _BACKSLASH = b':"\\'
_IS_BLANK = np.isin(np.arange(256), list(b" \t\r\n"))
_IS_MARK = np.isin(np.arange(256), list(b":,[{"))
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
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


def load_all(pieces: Sequence[Any]) -> list[Any] | None:
    """Return the value of each piece, or None where one of them must be looked at alone.

    >>> load_all([b'{"a": 1}', b'{"a": {"b": 2}}']), load_all([b'{"a": 1, "a": 2}'])
    ([{'a': 1}, {'a': {'b': 2}}], None)
    """
    try:
        values = list(map(_parser(), pieces))
        return values if agreed(values, b"\n".join(pieces)) else None
    except (ValueError, TypeError, AttributeError, RecursionError):  # what is no bytes is no JSON
        return None


def load_elements(text: bytes) -> list[Any] | None:
    """Return the values of text that stands between an array's brackets, or None as `load_all` does.

    >>> load_elements(b'{"a": 1}, {"a": 2}'), load_elements(b'{"a": 1}, {"a"')
    ([{'a': 1}, {'a': 2}], None)
    """
    values = load_all([b"[%b]" % text])
    return None if values is None else values[0]


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
    if _parser() is _load_plainly and _SURROGATE_ESCAPE.search(text):
        return False
    array = np.frombuffer(text, np.uint8)
    return not _may_have_long_integers(text, array) and _keys(text, array) == _members(values)


def _may_have_long_integers(text: bytes, array: NDArray[np.uint8]) -> bool:
    """Whether 19 digits stand in a row: four neighbours among every fourth byte are digits then."""
    digit = (np.ascontiguousarray(array[::4]) - np.uint8(48)) < 10
    four = digit[:-3] & digit[1:-2] & digit[2:-1] & digit[3:]
    return any(_LONG_INTEGER.search(text, max(4 * i - 4, 0), 4 * i + 36) for i in np.flatnonzero(four).tolist())


def _keys(text: bytes, array: NDArray[np.uint8]) -> int:
    r"""The keys in a text that a parser has read: the quotes before a colon that end a string.

    In `"a": "\"b\": c"` an odd number of backslashes stands before the quote that ends none; in `"a": ": b"` it
    begins one, after a mark that may stand before a string (as it may at the end of a key).
    """
    quotes = _before_blanks(array, np.flatnonzero(array == _COLON) - 1)
    quotes = quotes[array[quotes] == _QUOTE]
    before, odd = quotes - 1, np.zeros(len(quotes), bool)
    escaped = array[before] == _BACKSLASH
    while escaped.any():
        odd ^= escaped
        before = before - escaped
        escaped &= array[before] == _BACKSLASH
    unsure = quotes[~odd & _IS_MARK[array[_before_blanks(array, quotes - 1)]]]
    return len(quotes) - int(np.count_nonzero(odd)) - sum(_begins_a_string(text, at) for at in unsure.tolist())


def _before_blanks(array: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places at or before `at` that hold no blank; a text that was read begins with none but in `[` or `{`."""
    blank = _IS_BLANK[array[at]]
    while blank.any():
        at = at - blank
        blank &= _IS_BLANK[array[at]]
    return at


def _begins_a_string(text: bytes, at: int) -> bool:
    """Whether the quote at `at` comes after whole strings only; no string holds a line break as it is."""
    line = text[text.rfind(b"\n", 0, at) + 1 : at]
    return _ESCAPED.sub(b"", line).count(b'"') % 2 == 0


def _members(values: Sequence[Any]) -> int:
    """The members of all objects in some values, counted level by level."""
    count, objects = 0, [value for value in values if type(value) is dict]
    lists = [value for value in values if type(value) is list] if len(objects) < len(values) else []
    for _ in range(DEEPEST):
        if not objects and not lists:
            return count
        count += sum(map(len, objects))
        inner = list(chain.from_iterable([*map(dict.values, objects), *lists]))
        kinds = set(map(type, inner))
        objects = [value for value in inner if type(value) is dict] if dict in kinds else []
        lists = [value for value in inner if type(value) is list] if list in kinds else []
    raise RecursionError


def _load_plainly(piece: bytes) -> Any:
    return json.loads(piece.decode())


@cache
def _parser() -> Callable[[bytes], Any]:
    try:
        import orjson  # noqa: PLC0415  # an extra
    except ImportError:
        return _load_plainly
    loads: Callable[[bytes], Any] = orjson.loads
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
        _members([value])
    except UnicodeDecodeError as error:
        raise UnreadableError("not UTF-8", "not_utf8", error.start) from error
    except json.JSONDecodeError as error:
        raise UnreadableError(error.msg, "not_json", len(text[: error.pos].encode())) from error
    except UnreadableError:
        raise
    except RecursionError as error:
        raise UnreadableError(f"nested too deeply, in more than {DEEPEST} levels", "not_json") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise UnreadableError(str(error), "not_json") from error
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
