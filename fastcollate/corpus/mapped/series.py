"""The files that a path stands for: one, a folder of shards, or a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastcollate.errors import InputError

__all__ = ["check_series", "files_at", "natural"]

_PATTERN = re.compile(r"[*?[]")
_NUMBER = re.compile(r"[0-9]+")


def files_at(path: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix that a path stands for, in their order; none where there are none.

    Args:
        path: A file, a folder that has them, or a pattern in a folder, such as `data/fineweb_train_*.bin`.
        suffix: How their names end, such as ".bin".
    """
    if path.is_file():
        return [path] if path.name.endswith(suffix) else []
    folder, pattern = (path, f"*{suffix}") if path.is_dir() else (path.parent, path.name)
    if not path.is_dir() and not _PATTERN.search(path.name):
        return []
    found = (file for file in folder.glob(pattern) if file.name.endswith(suffix) and file.name[0] != ".")
    return natural(file for file in found if file.is_file())


def check_series(path: Path, files: Sequence[Path]) -> None:
    """Make sure that the files of a folder are one series, whose names differ in their numbers alone.

    Raises:
        InputError: The folder has several, such as training and validation shards, which nobody wants as one.
    """
    names = sorted({_NUMBER.sub("*", file.name) for file in files}) if path.is_dir() else []
    if len(names) > 1:
        raise InputError(
            f"{path} has files of several kinds, {names[0]} and {names[1]}: give a pattern that names those that "
            f"are wanted, such as {path / names[0]}"
        )


def natural(files: Iterable[Path]) -> list[Path]:
    """Return files in the order that people number them in: `part-2` before `part-10`.

    >>> [file.name for file in natural([Path("part-10.bin"), Path("part-2.bin")])]
    ['part-2.bin', 'part-10.bin']
    """
    return sorted(files, key=lambda file: (_numbered(str(file)), str(file)))


def _numbered(name: str) -> list[tuple[str, int]]:
    """The text before each number, with the number: `a7b` is ("a", 7), ("b", -1)."""
    texts, numbers = _NUMBER.split(name), [int(number) for number in _NUMBER.findall(name)]
    return list(zip(texts, [*numbers, -1], strict=True))
