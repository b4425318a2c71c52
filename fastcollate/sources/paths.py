"""From paths, patterns and folders to files, with what was passed over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any

from fastcollate.errors import InputError, plural
from fastcollate.sources.chunk import unreadable
from fastcollate.sources.folders import is_hidden, span, taken
from fastcollate.sources.prefixes import expand_url, fixed_folder
from fastcollate.storage.storage import is_object_url

__all__ = ["expand", "labels"]


def expand(
    path: str, wanted: str | None, storage_options: Mapping[str, Any] | None = None
) -> tuple[list[str], list[str]]:
    """Return the files (or the URL) that one path, pattern, folder or URL stands for, and what is to be said.

    Args:
        path: The path, pattern, folder or URL.
        wanted: The format that the caller names, which alone is looked for in folders; None looks for all.
        storage_options: Settings of the object store, where `path` is a URL of one; see `open_storage`.

    Raises:
        InputError: Nothing is there, or nothing that is data.
        StorageError: The object store cannot be reached, or does not let us read.
    """
    if is_object_url(path):
        return expand_url(path, wanted, storage_options)
    try:
        # Neither a file nor missing is a pipe, or a link to nothing: opening it will tell.
        if "://" in path or (os.path.lexists(path) and not Path(path).is_dir()):
            return [path], []
        if Path(path).is_dir():
            return _walk(path, wanted)
        found = sorted(match for match in glob(path, recursive=True) if not Path(match).is_dir())  # noqa: PTH207  # absolute patterns too
    except OSError as error:
        raise unreadable(path, error) from error
    if not found:
        what = "no file matches this pattern" if has_magic(path) else "no such file"
        raise InputError(f"{path}: {what}: check the path", path=path, reason="not_found")
    return found, [f"{path}: {plural(len(found), 'file')}, {span(found)}"] if len(found) > 1 else []


def labels(found: Mapping[str, str]) -> dict[str, str]:
    """Return what files are called where machines and working folders are no matter: each has a label of its own.

    Args:
        found: The argument that each file was found by: a folder or pattern, from which it is named, or itself.

    >>> labels(dict.fromkeys(["data/a/x.json", "data/b/x.json"], "data/*/x.json"))
    {'data/a/x.json': 'a/x.json', 'data/b/x.json': 'b/x.json'}
    >>> labels({"a/x.json": "a/x.json", "b/x.json": "b/x.json", "b/y.json": "b/y.json"})
    {'a/x.json': 'a/x.json', 'b/x.json': 'b/x.json', 'b/y.json': 'b/y.json'}
    """
    made = {name: _from(name, _base(path, name)) for name, path in found.items()}
    if len(set(made.values())) == len(made):
        return made
    files = [os.path.dirname(os.path.abspath(name)) for name in found if "://" not in name]  # noqa: PTH100, PTH120
    common = os.path.commonpath(files) if files else ""
    return {
        name: name.partition("://")[2].partition("?")[0] if "://" in name else _from(name, common)
        for name in found
    }


def _base(path: str, name: str) -> str:
    """Return the folder from which an argument's files are named: it, or what comes before a pattern or a name."""
    if is_object_url(path):
        return path.rpartition("/")[0] if path == name else fixed_folder(path).rstrip("/")
    if Path(path).is_dir():
        return path
    folders = Path(path).parent.parts
    fixed = folders if os.path.lexists(path) else tuple(takewhile(lambda part: not has_magic(part), folders))
    return str(Path(*fixed))


def _from(name: str, folder: str) -> str:
    if is_object_url(name):
        return name[len(folder) + 1 :]
    if "://" in name:
        return name.partition("?")[0].rpartition("/")[2]
    return Path(os.path.relpath(name, folder)).as_posix()


def _walk(folder: str, wanted: str | None) -> tuple[list[str], list[str]]:
    shown, hidden = list[str](), list[str]()
    for here, folders, files in os.walk(folder, onerror=_raise):
        inner = Path(os.path.relpath(here, folder))
        hidden += [(inner / name).as_posix() for name in folders if is_hidden(name)]
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in files:
            (hidden if is_hidden(name) else shown).append((inner / name).as_posix())
    return taken(folder, shown, hidden, wanted, lambda name: str(Path(folder) / name))


def _raise(error: OSError) -> None:
    raise error
