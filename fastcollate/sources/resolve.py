"""From what a caller names (paths, patterns, URLs, iterables) to sources."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path

from fastcollate.errors import InputError
from fastcollate.sources.chunk import unreadable
from fastcollate.sources.in_memory import GivenRecords
from fastcollate.sources.json_text import JsonFile
from fastcollate.sources.source import Source

__all__ = ["resolve"]


def resolve(source: object) -> Sequence[Source]:
    """Return the sources that `source` stands for, in order; none is opened.

    Args:
        source: A path, a glob pattern, an http(s) URL, a list of these, or an iterable of dicts. A file is read
            as what it holds, whatever its name: a JSON array of objects, or JSON Lines.

    Raises:
        InputError: It is none of these, or a path or pattern that matches nothing.

    >>> [found.name for found in resolve([{"text": "a"}])]
    ['the given iterable']
    """
    if isinstance(source, str | os.PathLike):
        return [JsonFile(path) for path in _expand(source)]
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | os.PathLike):
        return [JsonFile(path) for i, item in enumerate(source) for path in _expand(_path_in_list(i, item))]
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise InputError(
            f"the source is of type {type(source).__name__}: give a path, a glob, a URL, a list of these, "
            "or an iterable of dicts (one record alone goes in a list)",
            reason="bad_source",
        )
    return [GivenRecords(source)]


def _path_in_list(i: int, item: object) -> str | os.PathLike[str]:
    if isinstance(item, str | os.PathLike):
        return item
    raise InputError(
        f"item {i} of the list of sources is of type {type(item).__name__}, item 0 is a path: "
        "give paths only, or dicts only",
        row=i,
        reason="bad_source",
    )


def _expand(source: str | os.PathLike[str]) -> list[str]:
    """Return the files (or the URL) that one path, glob pattern or URL stands for."""
    path = os.fsdecode(source)
    try:
        # Neither a file nor missing is a pipe, or a link to nothing: opening it will tell.
        if "://" in path or (os.path.lexists(path) and not Path(path).is_dir()):
            return [path]
        if Path(path).is_dir():
            raise InputError(
                f'{path}: is a directory: give its files, for example "{Path(path) / "*.jsonl"}"',
                path=path,
                reason="is_directory",
            )
        found = sorted(match for match in glob(path, recursive=True) if not Path(match).is_dir())  # noqa: PTH207  # absolute patterns too
    except OSError as error:
        raise unreadable(path, error) from error
    if not found:
        what = "no file matches this pattern" if any(mark in path for mark in "*?[") else "no such file"
        raise InputError(f"{path}: {what}: check the path", path=path, reason="not_found")
    return found
