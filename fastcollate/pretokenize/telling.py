"""What `prepare` says, a line each, of what it found out and of records that are not as they should be.

It says so to the logger "fastcollate": an answer to a question nobody asked (which template) as information, and
what makes a model learn something else than was meant as a warning.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastcollate.errors import plural
from fastcollate.store.reader import TokenStore
from fastcollate.templates.segments import Template

__all__ = ["Told", "count_together", "count_unread", "say", "tell", "told"]

log = logging.getLogger("fastcollate")

_MOST_NAMES = 64  # of keys and control tokens that are counted apart
_UNREAD, _ABSENT = "unread:", "absent:"


class Told(NamedTuple):
    """What is told of the records of a store.

    Attributes:
        what: What is so, and of how many records.
        fix: What to do about it.
    """

    what: str
    fix: str


def count_unread(records: Sequence[Mapping[str, Any]], template: Template, kept: frozenset[str]) -> Counter[str]:
    """Count values whose keys neither the template reads nor a column keeps; null is none.

    Beside a completion, a label that is false marks it as not wanted: these are counted apart.

    >>> from fastcollate.templates.fields import PromptTemplate
    >>> records = [{"prompt": "2 + 2 =", "completion": " 5", "label": False}]
    >>> count_unread(records, PromptTemplate.named("prompt_completion"), frozenset())
    Counter({'unread:label': 1, 'unwanted': 1})
    """
    read = getattr(template, "keys", None)
    if read is None:
        return Counter()
    unread = set[str]().union(*records) - read - kept
    counts = Counter({_UNREAD + key: sum(r.get(key) is not None for r in records) for key in sorted(unread)})
    if "label" in unread and "completion" in read:
        counts["unwanted"] = sum(record.get("label") is False for record in records)
    return counts


def count_together(counts: Counter[str], more: Mapping[str, int]) -> None:
    """Add counts of what is told; the keys of a source, and what a template writes, may be without end."""
    for name, count in more.items():
        known = name in counts or ":" not in name or len(counts) < _MOST_NAMES
        counts[name if known else f"{name.partition(':')[0]}:..."] += count


def say(notes: Iterable[str]) -> None:
    """Say what was found out, a line each."""
    for note in notes:
        log.info("%s", note)


def tell(store: TokenStore) -> TokenStore:
    """Say in one line each what the manifest's counts mean, and return the store."""
    for line in told(store.manifest.noted, len(store)):
        log.warning("%s: %s", *line)
    return store


def told(noted: Mapping[str, int], records: int) -> list[Told]:
    """Return what the counts of a manifest mean, a sentence each.

    >>> told({"cut": 2}, 3)[0].what
    'in 2 records of 3 the tokens beyond max_length (--max-length) were cut off'
    """
    lines = [_line(count, records, *_LINES[name]) for name, count in sorted(noted.items()) if name in _LINES]
    absent = sorted(name.removeprefix(_ABSENT) for name in noted if name.startswith(_ABSENT))
    if absent:
        most = max(noted[_ABSENT + name] for name in absent)
        lines.insert(0, _line(most, records, _ABSENT_WHAT.format(", ".join(absent)), _ABSENT_FIX))
    return lines + [
        _line(count, records, f"the template does not read {', '.join(keys)}", _UNREAD_FIX)
        for count, keys in sorted(_unread(noted).items(), reverse=True)
    ]


def _unread(noted: Mapping[str, int]) -> dict[int, list[str]]:
    """Return the keys that are not read, by how many records have them."""
    found: dict[int, list[str]] = {}
    for name in sorted(noted):
        if name.startswith(_UNREAD):
            found.setdefault(noted[name], []).append(f'"{name.removeprefix(_UNREAD)}"')
    return found


def _line(count: int, records: int, what: str, fix: str) -> Told:
    return Told(f"in {plural(count, 'record')} of {records:,} {what}", fix)


_UNREAD_FIX = (
    "name what should be read in fields (--fields) or keep it as a column (--keep-columns), or choose another "
    "template (--template)"
)
_ABSENT_WHAT = (
    "the template's control tokens {} stand as ordinary text, several tokens each, since the encoding has no such "
    "tokens"
)
_ABSENT_FIX = (
    "choose an encoding that has them (--encoding, such as the model's tokenizer.json), or a template without "
    "them (--template)"
)
_LINES = {
    "straddled": (
        "a token holds the end of the prompt and the beginning of the answer, and is learnt",
        "let prompts end without a blank, and answers begin with it",
    ),
    "control_text": (
        "the text spells the name of a control token (such as <|endoftext|>), which is learnt as plain letters",
        "take it out of the source, the template and the end token put it where it belongs",
    ),
    "no_end": (
        "the last target is no end: neither an end of turn nor the end token, so a model would not learn to stop",
        "let records end (no --no-eot), raise max_length (--max-length), or set overlong (--overlong keep_end)",
    ),
    "unwanted": (
        'the completion is marked as not wanted ("label": false), and is learnt',
        "take such records out of the source",
    ),
    "unsupervised": ("nothing is a target", "leave unsupervised out (--unsupervised) to have them left out"),
    "cut": (
        "the tokens beyond max_length (--max-length) were cut off",
        "raise it, or set overlong (--overlong) to choose what is cut",
    ),
}
