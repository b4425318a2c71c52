"""One store after another: the manifest of both, and the earlier one, which is kept for whoever still reads by it.

Shards stay as they are. Their numbers go on, and with these the names of their files; so do the rows of the
source, which `row_base` counts from. How many rows a store has is said by its records: one more than the largest
row that any of them came from. Rows at the end of a source that gave no record are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fastcollate.errors import StoreWriteError
from fastcollate.storage.local import make_names_durable, write_whole
from fastcollate.store.manifest import Manifest, kept_name
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.shard_arrays import USUAL, ColumnEntry

__all__ = ["appended", "keep_manifest", "rows_of"]

_MOST_ROWS = 2**63 - 1
_FIXES = {
    "encoding": "prepare both with one encoding",
    "dtype": "prepare both with one encoding",
    "layout": "prepare one of them again in the layout of the other",
    "has_spans": "give spans to all records, or to none",
    "columns": "prepare both with the same columns (keep_columns)",
}


def rows_of(store: TokenStore) -> int:
    """Return how many rows the source of a store has, as far as its records tell: the largest row, and one more.

    Args:
        store: The store; of a view the store that it is a view of.

    Raises:
        StoreCorruptError: A file has not the size that the manifest says.
        StorageError: The system does not let us read a file.

    >>> import tempfile
    >>> from fastcollate import Ragged, StoreWriter
    >>> path = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(path, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72], [105]]), source_rows=[4, 7])
    >>> rows_of(TokenStore(path))
    8
    """
    shards = store.at_epoch(0, 0).shards
    return 1 + max(shard.row_base + max(0, int(shard.arrays["source_row"].max())) for shard in shards)


def appended(old: Manifest, more: Manifest, *, rows: int) -> Manifest:
    """Return the manifest of the records of `old`, and after them those of `more`.

    Both have the same encoding, layout and columns; `weights` and `group` may be absent in one. Where the names of
    their templates differ, the manifest names none.

    Args:
        old: The manifest whose shards come first; they keep their numbers.
        more: The manifest whose shards come after these, and get other numbers.
        rows: The number of rows that come before those of `more`: what `rows_of` says of the first store.

    Raises:
        StoreWriteError: The two stores do not go together; the field that differs is named, with both values.

    >>> import tempfile
    >>> from fastcollate import Ragged, StoreWriter
    >>> path = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(path, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72], [105]]))
    >>> manifest = TokenStore(path).manifest
    >>> twice = appended(manifest, manifest, rows=2)
    >>> [(shard.files[0].name, shard.row_base) for shard in twice.shards], twice.lengths
    ([('shard-00000.arrow', 0), ('shard-00001.arrow', 2)], [[1, 4]])
    """
    for field, mine, other in _differences(old, more):
        fix = _FIXES[field.partition(".")[0]]
        raise StoreWriteError(f"{field} is {mine} in the one and {other} in the other: {fix}")
    if max(shard.row_base for shard in more.shards) + rows > _MOST_ROWS:
        raise StoreWriteError(
            f"{rows} rows of the source come before those of the other: a store counts to {_MOST_ROWS} at most; "
            "write them with smaller source_rows"
        )
    lengths = Counter[int]()
    for length, count in [*old.lengths, *more.lengths]:
        lengths[length] += count
    return replace(
        old,
        template=old.template if old.template == more.template else None,
        columns=dict(sorted({**old.columns, **more.columns}.items())),
        shards=[
            *old.shards,
            *(shard.renumbered(n, rows=rows) for n, shard in enumerate(more.shards, len(old.shards))),
        ],
        lengths=[[length, lengths[length]] for length in sorted(lengths)],
        rejected=_added(old.rejected, more.rejected),
        noted=_added(old.noted, more.noted),
    )


def keep_manifest(path: Path, manifest: Manifest) -> None:
    """Keep the manifest of the store at `path` beside the one that will take its place.

    Whoever has the store open, or opens it by this manifest's fingerprint, goes on as before: no shard that it
    names is ever changed. It is on the disk when the function returns, and to keep one twice changes nothing.

    Args:
        path: The directory of the store.
        manifest: The manifest that it has now.

    Raises:
        StorageError: The disk failed.
    """
    write_whole(path / kept_name(manifest.fingerprint), manifest.as_bytes)
    make_names_durable(path)


def _differences(old: Manifest, more: Manifest) -> Iterator[tuple[str, str, str]]:
    """Yield each field in which two stores must agree and do not, and what it is in each."""
    for field in fields(old.encoding):
        yield from _difference(f"encoding.{field.name}", old.encoding, more.encoding)
    for name in ("dtype", "layout", "has_spans"):
        yield from _difference(name, old, more)
    for name in sorted(old.columns.keys() | more.columns.keys()):
        mine, other = old.columns.get(name), more.columns.get(name)
        if mine != other and not (name in USUAL and None in (mine, other)):
            yield f"columns.{name}", _said(mine), _said(other)


def _difference(field: str, old: Any, more: Any) -> Iterator[tuple[str, str, str]]:
    mine, other = (getattr(each, field.rpartition(".")[2]) for each in (old, more))
    if mine != other:
        yield field, repr(mine), repr(other)


def _said(column: ColumnEntry | None) -> str:
    return "absent" if column is None else f"{column.dtype} per {column.per}"


def _added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of two counts, by what is counted."""
    both = Counter(counts)
    both.update(more)
    return dict(both)
