"""The journal: what an unfinished store was begun with, and each task that is finished, sealed.

In a directory these are the lines of `journal.jsonl`, in an object store small objects.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from fastcollate.errors import StoreCorruptError, StoreWriteError
from fastcollate.pretokenize.parts.writing import Finished, Target
from fastcollate.pretokenize.recipe import Recipe
from fastcollate.storage.local import storage_error
from fastcollate.storage.storage import is_object_url
from fastcollate.store.typed_json import build, sealed

__all__ = [
    "Begun",
    "Claim",
    "Kept",
    "arguments_of",
    "check_same",
    "finished_in",
    "line_of",
    "read_entry",
    "read_journal",
]

_SKIPS = "on_error"


@dataclass(frozen=True)
class Begun:
    """What a store was begun with.

    Attributes:
        arguments: Each argument, and whatever else decides the bytes, in words that tell it from others.
        tasks: How many tasks there were.
        rejected_bytes: The size of `rejected.jsonl` before; 0 where there was none.
    """

    arguments: dict[str, str]
    tasks: int
    rejected_bytes: int


@dataclass(frozen=True)
class Claim:
    """What was begun, and by which run.

    Attributes:
        begun: What it was.
        writer: The mark of the run.
    """

    begun: Begun
    writer: str


@dataclass(frozen=True)
class Kept:
    """A task that is finished, where another run may write to the same journal.

    Attributes:
        arguments: Those of the run that has finished it.
        finished: What became of the task.
    """

    arguments: dict[str, str]
    finished: Finished

    def is_of(self, begun: Begun) -> bool:
        """Whether the task is one of what was begun."""
        try:
            check_same(Begun(self.arguments, 0, 0), begun, [self.finished], "")
        except StoreWriteError:
            return False
        return True


Entry = TypeVar("Entry", Begun, Finished, Claim, Kept)


def arguments_of(recipe: Recipe, target: Target) -> dict[str, str]:
    """Return what decides the bytes of a store beside its sources, each in words that tell it from others."""
    template, encoding = recipe.template, target.encoding
    return {
        "the version of fastcollate": version("fastcollate"),
        "template": f"{template.name} ({template.fingerprint[:16]})",
        "encoding": f"{encoding.name} ({encoding.sha256[:16]})",
        "append_eot": str(recipe.append_eot),
        "max_length": str(recipe.max_length),
        "overlong": recipe.overlong,
        "unsupervised": recipe.unsupervised,
        "keep_columns": ", ".join(f"{name} ({kind})" for name, kind in recipe.kept.kinds) or "nothing",
        "layout": target.layout,
        "records_per_shard": str(target.records_per_shard),
        _SKIPS: recipe.on_error,
    }


def line_of(entry: Begun | Finished) -> bytes:
    """Return a line of the journal."""
    return sealed(entry)


def read_journal(path: Path) -> tuple[Begun, list[Finished]] | None:
    """Return what a journal says; None if it was cut off before it said anything, or is not there.

    A line that is not whole is none: its task is done again.

    Raises:
        StorageError: The disk failed.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(path, error) from error
    begun = read_entry(Begun, lines[0], str(path)) if lines else None
    if begun is None:
        return None
    found = (read_entry(Finished, line, str(path)) for line in lines[1:])
    return begun, [entry for entry in found if entry is not None]


def read_entry(kind: type[Entry], line: bytes, path: str) -> Entry | None:
    """Return what a line or an object says; None if it is not whole.

    Args:
        kind: What it should be.
        line: Its bytes.
        path: What the place is called.
    """
    with suppress(ValueError, RecursionError, StoreCorruptError):
        content = json.loads(line)
        entry = build(kind, {key: value for key, value in content.items() if key != "sha256"}, path)
        return entry if sealed(entry) == line else None
    return None


def check_same(before: Begun, now: Begun, finished: Sequence[Finished], path: str) -> None:
    """Raise unless what was finished is what would be made now.

    Records that were bad stopped the former run: that the next one skips them changes nothing that is finished.

    Raises:
        StoreWriteError: An argument differs; it is named.
    """
    for name in sorted(before.arguments.keys() | now.arguments.keys()):
        old, new = before.arguments.get(name, "nothing"), now.arguments.get(name, "nothing")
        if old == new or (name == _SKIPS and old == "raise"):
            continue
        if name == _SKIPS and not any(entry.rejected for entry in finished):
            continue
        raise _other(path, f"{name} was {old}, and is {new} now")


def finished_in(tasks: Sequence[tuple[str, ...]], finished: Sequence[Finished], path: str) -> None:
    """Raise unless each finished task is one of those there are now, of the same rows of the same sources.

    Raises:
        StoreWriteError: A source has changed; it is named. Or nothing tells a source from another.
    """
    for entry in finished:
        if not entry.keys:
            raise _other(path, "its source, standard input or an iterable, cannot be told from another")
        now = tasks[entry.number] if entry.number < len(tasks) else ()
        if tuple(entry.keys) != now:
            odd = ([key for key in entry.keys if key not in now] or entry.keys)[0]
            raise _other(path, f"the source {odd.rsplit(' ', 3)[0]!r} has changed, or others have come before it")


def _other(path: str, what: str) -> StoreWriteError:
    there = "objects" if is_object_url(path) else "directory"
    return StoreWriteError(
        f"{path} holds an unfinished store that was begun otherwise: {what}; run the former command again to go "
        f"on with it, or remove the {there} to begin anew"
    )
