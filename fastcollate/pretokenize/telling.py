"""What `prepare` says, a line each, of what it found out and of records that are not as they should be.

It says so to the logger "fastcollate": an answer to a question nobody asked (which template) as information, and
what makes a model learn something else than was meant as a warning.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from fastcollate.errors import plural
from fastcollate.store.reader import TokenStore

__all__ = ["count_together", "say", "tell"]

log = logging.getLogger("fastcollate")

_MOST_KEYS = 64  # unread keys that are counted apart
_UNREAD = "unread:"


def count_together(counts: Counter[str], more: Mapping[str, int]) -> None:
    """Add counts of what is told; the keys of a source may be without end."""
    for name, count in more.items():
        known = name in counts or not name.startswith(_UNREAD) or len(counts) < _MOST_KEYS
        counts[name if known else f"{_UNREAD}..."] += count


def say(notes: Iterable[str]) -> None:
    """Say what was found out, a line each."""
    for note in notes:
        log.info("%s", note)


def tell(store: TokenStore) -> TokenStore:
    """Say in one line each what the manifest's counts mean, and return the store."""
    noted, records = store.manifest.noted, len(store)
    for name, count in sorted(noted.items()):
        if name.startswith(_UNREAD):
            key = name.removeprefix(_UNREAD)
            log.warning(
                'key "%s" of %s is not read by the template: %s', key, plural(count, "record"), _UNREAD_FIX
            )
        elif name in _LINES:
            log.warning(_LINES[name], plural(count, "record"), records)
    return store


_UNREAD_FIX = "name it in fields (--fields), keep it as a column (--keep-columns), or choose another template"
_LINES = {
    "straddled": (
        "%s of %d have a token that holds the end of the prompt and the beginning of the answer; it is learnt: "
        "let prompts end without a blank, and answers begin with it"
    ),
    "control_text": (
        "%s of %d spell the name of a control token (such as <|endoftext|>) in their text; it is learnt as plain "
        "letters: take it out of the source, the template and the end token put it where it belongs"
    ),
    "unsupervised": "%s of %d have no target, and were kept",
    "cut": "%s of %d are longer than max_length (--max-length), and were cut",
}
