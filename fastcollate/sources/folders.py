"""Which files of a folder hold records, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from fastcollate.errors import InputError, plural
from fastcollate.sources.sniff import ending

__all__ = ["is_hidden", "span", "taken"]

# What programs write beside their data, under endings that data has.
_NO_DATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_MOST_NAMED = 5


def taken(
    folder: str, files: Iterable[str], hidden: list[str], wanted: str | None, at: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Return the files of a folder that are taken for data, and what is to be said of it.

    Args:
        folder: The folder, as the caller names it.
        files: The names of its files, from the folder on, without what is hidden.
        hidden: The names that are left out as hidden.
        wanted: The format that the caller names, which alone is looked for; None looks for all.
        at: The function that makes a name from the folder on the name of a file.

    Raises:
        InputError: None of them is data.

    >>> taken("data", ["b.json", "README.md"], [], None, "data/{}".format)
    (['data/b.json'], ['data: 1 file, data/b.json', 'data: left out, as no records: README.md'])
    """
    found: dict[str, list[str]] = {}
    foreign = list[str]()
    for name in files:
        kind = _kind(name.rpartition("/")[2], wanted)
        if kind:
            found.setdefault(kind, []).append(name)
        else:
            foreign.append(name)
    if wanted is None and len(found) > 1:  # a note beside the data, such as LICENSE.txt
        foreign += found.pop("text", [])
    chosen = sorted(at(name) for names in found.values() for name in names)
    if not chosen:
        what = f"it has {_named(sorted(foreign))}" if foreign else "it is empty"
        raise InputError(
            f"{folder}: no file of records is in this folder ({what}): give files by name, or the format of those "
            "that end otherwise",
            path=folder,
            reason="not_found",
        )
    notes = [f"{folder}: {plural(len(chosen), 'file')}, {span(chosen)}"]
    if foreign:
        notes.append(f"{folder}: left out, as no records: {_named(sorted(foreign))}")
    if hidden:
        notes.append(f"{folder}: left out, as hidden: {_named(hidden)}")
    return chosen, notes


def is_hidden(name: str) -> bool:
    """Tell whether a file or a folder is not for those who do not ask for it."""
    return name.startswith(".")


def span(paths: list[str]) -> str:
    """Return which files these are, in a few words."""
    return f"from {paths[0]} to {paths[-1]}" if len(paths) > 1 else paths[0]


def _kind(name: str, wanted: str | None) -> str:
    """The format of a file in a folder; "" is none, or another than the one that is wanted."""
    kind = "" if name in _NO_DATA else ending(name)
    if wanted is None:
        return kind
    family = {"jsonl": "json"}.get(wanted, wanted.partition(":")[0].partition("-")[0])
    return kind if kind == family else ""


def _named(names: list[str]) -> str:
    kinds = Counter(PurePosixPath(name).suffix or "no ending" for name in names[_MOST_NAMED:])
    more = ", ".join(f"{count:,} with {kind}" for kind, count in sorted(kinds.items()))
    return ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED:,} more ({more})" if more else "")
