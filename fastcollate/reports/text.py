"""What the verbs print with: aligned lines for people, one JSON object for machines, progress on stderr."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

# Control characters but tab and newline, what turns the direction of writing, and what is not seen (zero-width and
# filling characters, tags, variation selectors, halves of surrogate pairs): in data they would steer the terminal
# or the page they are shown on, or hide there.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_UNITS = ("B", "kB", "MB", "GB", "TB")
_THOUSANDS = ("", "k", "M", "G")


def print_json(content: Mapping[str, object]) -> None:
    """The one JSON object of a verb under `--json`."""
    print(json.dumps(content))


def print_fields(fields: Mapping[str, str]) -> None:
    """One line a field, the values under each other."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:{width}}  {printable(value)}")


def printable(text: str) -> str:
    r"""The text with what would steer a terminal, or cannot be seen, spelled out.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def file_size(count: int) -> str:
    """A number of bytes in a unit people read.

    >>> file_size(999), file_size(233_210), file_size(999_999)
    ('999 B', '233 kB', '1.00 MB')
    """
    return _scaled(count, _UNITS)


def rough_count(count: int) -> str:
    """A number of things in three figures.

    >>> rough_count(999), rough_count(12_345), rough_count(1_234_567)
    ('999', '12.3k', '1.23M')
    """
    return _scaled(count, _THOUSANDS).replace(" ", "")


def _scaled(count: int, units: Sequence[str]) -> str:
    value, unit = float(count), 0
    while value >= (1000 if unit == 0 else 999.5) and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    decimals = 0 if unit == 0 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{decimals}f} {units[unit]}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(9.4), duration(754), duration(3 * 3600 + 61)
    ('0:09', '12:34', '3:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rejections(counts: Mapping[str, int]) -> str:
    """Rejected records by reason, the most frequent first.

    >>> rejections({"not_json": 1, "overlong": 12}), rejections({})
    ('13 (12 overlong, 1 not_json)', 'none')
    """
    if not counts:
        return "none"
    reasons = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{sum(counts.values()):,} ({', '.join(f'{count:,} {reason}' for reason, count in reasons)})"


def columns() -> int:
    """How wide to print: the terminal, up to 100 columns."""
    return max(40, min(100, shutil.get_terminal_size().columns))


def uses_colour() -> bool:
    """Whether stdout is a terminal, and its owner has not asked for plain text (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_print(text: str) -> bool:
    """Whether stdout's encoding has all of `text`."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def announced(text: str) -> Iterator[None]:
    """A line on stderr while something takes its time, then cleared; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    print(text, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int], object] | None]:
    """What to call with each piece of work done: for a bar on stderr, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # noqa: PLC0415  # only terminals wait for it

    with tqdm(unit=f" {unit}", unit_scale=True, leave=False, dynamic_ncols=True, file=sys.stderr) as bar:
        yield bar.update


def shuffle_in_words(shuffle_block: int) -> str:
    """Return how a corpus is shuffled in blocks of so many records.

    >>> shuffle_in_words(1), shuffle_in_words(256)
    ('every record alone', 'blocks of 256 records')
    """
    return "every record alone" if shuffle_block == 1 else f"blocks of {shuffle_block:,} records"
