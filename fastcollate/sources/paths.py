"""From paths, patterns and folders to files, with what was passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path

from fastcollate.errors import InputError, plural
from fastcollate.sources.chunk import unreadable
from fastcollate.sources.sniff import ending

__all__ = ["expand", "labels"]

# What programs write beside their data, under endings that data has.
_NO_DATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_MOST_NAMED = 5


def expand(path: str, wanted: str | None) -> tuple[list[str], list[str]]:
    """Return the files (or the URL) that one path, pattern, folder or URL stands for, and what is to be said.

    Args:
        path: The path, pattern, folder or URL.
        wanted: The format that the caller names, which alone is looked for in folders; None looks for all.

    Raises:
        InputError: Nothing is there, or nothing that is data.
    """
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
    return found, [f"{path}: {plural(len(found), 'file')}, {_span(found)}"] if len(found) > 1 else []


def labels(found: Mapping[str, str]) -> dict[str, str]:
    """Return what files are called where machines and working folders are no matter: each has a label of its own.

    Args:
        found: The argument that each file was found by: a folder or pattern, from which it is named, or itself.

    >>> labels(dict.fromkeys(["data/a/x.json", "data/b/x.json"], "data/*/x.json"))
    {'data/a/x.json': 'a/x.json', 'data/b/x.json': 'b/x.json'}
    >>> labels({"a/x.json": "a/x.json", "b/x.json": "b/x.json", "b/y.json": "b/y.json"})
    {'a/x.json': 'a/x.json', 'b/x.json': 'b/x.json', 'b/y.json': 'b/y.json'}
    """
    made = {name: _from(name, _base(path)) for name, path in found.items()}
    if len(set(made.values())) == len(made):
        return made
    files = [os.path.dirname(os.path.abspath(name)) for name in found if "://" not in name]  # noqa: PTH100, PTH120
    common = os.path.commonpath(files) if files else ""
    return {
        name: name.partition("://")[2].partition("?")[0] if "://" in name else _from(name, common)
        for name in found
    }


def _base(path: str) -> str:
    """Return the folder from which an argument's files are named: it, or what comes before a pattern or a name."""
    if Path(path).is_dir():
        return path
    folders = Path(path).parent.parts
    fixed = folders if os.path.lexists(path) else tuple(takewhile(lambda part: not has_magic(part), folders))
    return str(Path(*fixed))


def _from(name: str, folder: str) -> str:
    if "://" in name:
        return name.partition("?")[0].rpartition("/")[2]
    return Path(os.path.relpath(name, folder)).as_posix()


def _walk(folder: str, wanted: str | None) -> tuple[list[str], list[str]]:
    found: dict[str, list[str]] = {}
    foreign, hidden = list[str](), list[str]()
    for here, folders, files in os.walk(folder, onerror=_raise):
        hidden += [str(Path(here) / name) for name in folders if _is_hidden(name)]
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in files:
            path = str(Path(here) / name)
            kind = _kind(name, wanted)
            if _is_hidden(name):
                hidden.append(path)
            elif kind:
                found.setdefault(kind, []).append(path)
            else:
                foreign.append(path)
    if wanted is None and len(found) > 1:  # a note beside the data, such as LICENSE.txt
        foreign += found.pop("text", [])
    taken = sorted(path for paths in found.values() for path in paths)
    if not taken:
        what = f"it has {_named(folder, sorted(foreign))}" if foreign else "it is empty"
        raise InputError(
            f"{folder}: no file of records is in this folder ({what}): give files by name, or the format of those "
            "that end otherwise",
            path=folder,
            reason="not_found",
        )
    notes = [f"{folder}: {plural(len(taken), 'file')}, {_span(taken)}"]
    if foreign:
        notes.append(f"{folder}: left out, as no records: {_named(folder, sorted(foreign))}")
    if hidden:
        notes.append(f"{folder}: left out, as hidden: {_named(folder, sorted(hidden))}")
    return taken, notes


def _kind(name: str, wanted: str | None) -> str:
    """The format of a file in a folder; "" is none, or another than the one that is wanted."""
    kind = "" if name in _NO_DATA else ending(name)
    if wanted is None:
        return kind
    family = {"jsonl": "json"}.get(wanted, wanted.partition(":")[0].partition("-")[0])
    return kind if kind == family else ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _raise(error: OSError) -> None:
    raise error


def _span(paths: list[str]) -> str:
    return f"from {paths[0]} to {paths[-1]}" if len(paths) > 1 else paths[0]


def _named(folder: str, paths: list[str]) -> str:
    shown = [os.path.relpath(path, folder) for path in paths[:_MOST_NAMED]]
    kinds = Counter(Path(path).suffix or "no ending" for path in paths[_MOST_NAMED:])
    more = ", ".join(f"{count:,} with {kind}" for kind, count in sorted(kinds.items()))
    return ", ".join(shown) + (f" and {len(paths) - _MOST_NAMED:,} more ({more})" if more else "")
