"""From what a caller names (paths, patterns, folders, URLs, tables, iterables) to sources."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastcollate.errors import InputError
from fastcollate.sources.files import FileSource
from fastcollate.sources.in_memory import GivenRecords, given
from fastcollate.sources.paths import expand
from fastcollate.sources.sniff import FORMATS, TEXT_BETWEEN
from fastcollate.sources.source import Source

__all__ = ["Resolved", "find_sources", "resolve"]


class Resolved(NamedTuple):
    """What a caller's source stands for.

    Attributes:
        sources: The sources, in order; none is opened.
        notes: What was taken and what was left out, where that is no matter of course: a sentence each.
        found: The argument that each file was found by, by the file's name.
    """

    sources: list[Source]
    notes: list[str]
    found: dict[str, str]


def resolve(source: object, *, format: str | None = None) -> list[Source]:  # noqa: A002  # pinned
    """Return the sources that `source` stands for, as `find_sources` does.

    >>> [found.name for found in resolve([{"text": "a"}])]
    ['the given iterable']
    """
    return find_sources(source, format=format).sources


def find_sources(
    source: Any,
    *,
    format: str | None = None,  # noqa: A002  # pinned
    storage_options: Mapping[str, Any] | None = None,
) -> Resolved:
    """Return the sources that `source` stands for, in order, and what is to be said of them; none is opened.

    Args:
        source: A path, a glob pattern or a folder, also of an object store (`s3://`, `gs://`, `az://`), an http(s)
            URL, `"-"` for standard input, a table, a dataset of Hugging Face, a list of these, or an iterable of
            dicts.
        format: The format of the files: `"json"` (an array, or lines), `"jsonl"`, `"csv"`, `"tsv"`, `"parquet"`,
            `"arrow"`, `"text"` (a document a line), `"text-file"` (a document a file) or `"text:SEPARATOR"`. By
            default the content tells, and where that leaves a choice the name.
        storage_options: Settings of object stores, such as `{"endpoint_url": "http://127.0.0.1:9000"}`; by default
            environment variables such as `AWS_ACCESS_KEY_ID` decide. See `open_storage`.

    Raises:
        InputError: It is none of these, or a path or pattern that matches nothing.
        StorageError: An object store cannot be reached, or does not let us read.

    >>> find_sources([{"text": "a"}]).notes
    []
    """
    _check_format(format)
    if isinstance(source, str | os.PathLike):
        return _file(os.fsdecode(source), format, storage_options)
    table = given(source)
    if isinstance(source, list | tuple) and source and _stands_alone(source[0]):
        return _several(source, format, storage_options)
    if table is None and (isinstance(source, Mapping | bytes) or not isinstance(source, Iterable)):
        raise InputError(
            f"the source is of type {type(source).__name__}: give a path, a glob, a URL, a list of these, "
            "or an iterable of dicts (one record alone goes in a list)",
            reason="bad_source",
        )
    if format is not None:
        raise InputError(f"format is {format!r}, and the source holds records already: leave it out")
    return Resolved([table or GivenRecords(source)], [], {})


def _check_format(wanted: str | None) -> None:
    known = isinstance(wanted, str) and (
        wanted in FORMATS or wanted.removeprefix(TEXT_BETWEEN) not in ("", wanted)
    )
    if wanted is None or known:
        return
    listed = ", ".join(map(repr, FORMATS))
    raise InputError(f"format is {wanted!r}: it must be one of {listed}, or 'text:' and what parts the documents")


def _stands_alone(item: object) -> bool:
    return isinstance(item, str | os.PathLike) or given(item) is not None


def _several(
    items: list[object] | tuple[object, ...], wanted: str | None, storage_options: Mapping[str, Any] | None
) -> Resolved:
    sources, notes, by = list[Source](), list[str](), dict[str, str]()
    for i, item in enumerate(items):
        if isinstance(item, str | os.PathLike):
            found = _file(os.fsdecode(item), wanted, storage_options)
        elif (table := given(item)) is not None:
            found = Resolved([table], [], {})
        else:
            kind = "a path" if isinstance(items[0], str | os.PathLike) else "a table"
            raise InputError(
                f"item {i} of the list of sources is of type {type(item).__name__}, item 0 is {kind}: "
                "give paths only, or dicts only",
                row=i,
                reason="bad_source",
            )
        sources += found.sources
        notes += found.notes
        by |= found.found
    for name, times in Counter(found.name for found in sources if isinstance(found, FileSource)).items():
        if times > 1:
            notes.append(f"{name}: given {times} times, and read as often")
    return Resolved(sources, notes, by)


def _file(path: str, wanted: str | None, storage_options: Mapping[str, Any] | None) -> Resolved:
    if path == "-":
        return Resolved([FileSource("standard input", wanted, piped=True)], [], {})
    found, notes = expand(path, wanted, storage_options)
    sources = [FileSource(name, wanted, storage_options=storage_options) for name in found]
    return Resolved(list(sources), notes, dict.fromkeys(found, path))
