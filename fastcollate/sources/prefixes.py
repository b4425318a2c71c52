"""From the URL of an object, a pattern or a prefix to objects, as `paths.py` does with files."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from glob import has_magic
from typing import Any

from fastcollate.errors import InputError, plural
from fastcollate.sources.folders import is_hidden, span, taken
from fastcollate.storage.storage import open_storage, parent_and_name

__all__ = ["expand_url", "fixed_folder"]


def expand_url(
    url: str, wanted: str | None, storage_options: Mapping[str, Any] | None
) -> tuple[list[str], list[str]]:
    """Return the objects that one URL of an object store stands for, and what is to be said.

    A pattern means what it means for files: `*` and `?` stay within a folder and leave out what is hidden, and
    `**` is any folders.

    Args:
        url: The URL of an object, of a prefix, or a pattern; in it, `*`, `?` and `[` are no part of a name.
        wanted: The format that the caller names, which alone is looked for in prefixes; None looks for all.
        storage_options: As `open_storage` has it.

    Raises:
        InputError: Nothing is there, or nothing that is data.
        StorageError: The object store cannot be reached, or does not let us read.
    """
    if has_magic(url):
        return _matches(url, storage_options)
    parent, name = parent_and_name(url)
    if name and open_storage(parent, storage_options).look_up(name) is not None:
        return [url], []
    folder = url.rstrip("/")
    names = list(open_storage(folder, storage_options).sizes())
    if not names:
        message = f"{url}: there is no such object, and no object below it: check the URL"
        raise InputError(message, path=url, reason="not_found")
    hidden = {_hidden_part(name): None for name in names}
    shown = [name for name in names if not _hidden_part(name)]
    return taken(url, shown, [name for name in hidden if name], wanted, lambda name: f"{folder}/{name}")


def fixed_folder(url: str) -> str:
    """Return the part of a pattern before what varies: the prefix that is listed for it.

    >>> fixed_folder("s3://bucket/data/*/a-?.json")
    's3://bucket/data'
    """
    while has_magic(url):
        url = url.rpartition("/")[0]
    return url


def _matches(pattern: str, storage_options: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    folder = fixed_folder(pattern)
    parts = pattern[len(folder) + 1 :].split("/")
    names = open_storage(folder, storage_options).sizes()
    found = [f"{folder}/{name}" for name in names if _fits(name.split("/"), parts)]
    if not found:
        message = f"{pattern}: no object matches this pattern: check the URL"
        raise InputError(message, path=pattern, reason="not_found")
    return found, [f"{pattern}: {plural(len(found), 'file')}, {span(found)}"] if len(found) > 1 else []


def _fits(name: list[str], pattern: list[str]) -> bool:
    """Whether the folders of a name, and its last part, are those of a pattern."""
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == "**":
        deeper = not is_hidden(name[0]) and _fits(name[1:], pattern)
        return _fits(name, pattern[1:]) or deeper or (len(pattern) == len(name) == 1 and not is_hidden(name[0]))
    if is_hidden(name[0]) and not is_hidden(pattern[0]):
        return False
    return fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])


def _hidden_part(name: str) -> str:
    """The hidden folder or object that a name has in it, with what comes before; "" is none."""
    parts = name.split("/")
    first = next((i for i, part in enumerate(parts) if is_hidden(part)), None)
    return "" if first is None else "/".join(parts[: first + 1])
