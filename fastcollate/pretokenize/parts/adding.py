"""A store that records are added to."""

from __future__ import annotations

from typing import NamedTuple, Self

from fastcollate.errors import StoreWriteError
from fastcollate.pretokenize.kept_columns import KeptColumns
from fastcollate.pretokenize.parts.writing import Target
from fastcollate.pretokenize.places.place import Place
from fastcollate.storage.storage import is_object_url
from fastcollate.store.appending import appended, rows_of
from fastcollate.store.manifest import Manifest
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.shard_arrays import STRING, USUAL, ColumnEntry

__all__ = ["OldStore"]


class OldStore(NamedTuple):
    """The manifest of a store before records are added to it, and how many rows its source had."""

    manifest: Manifest
    rows: int

    @classmethod
    def at(cls, place: Place, target: Target, kept: KeptColumns) -> Self:
        """Return the store where records go, which takes such records.

        Raises:
            StoreWriteError: It has another encoding, layout or other columns, or is in an object store.
            StoreError: There is no store.

        """
        if is_object_url(place.url):
            raise StoreWriteError(
                f"{place.url}: nothing can be added to a store in an object store yet: copy it to a directory and "
                "add to the copy, or make another store"
            )
        store = TokenStore(place.url)
        manifest = store.manifest
        columns = {name: column for name, column in manifest.columns.items() if name not in USUAL}
        named = {name: ColumnEntry(kind, "record") for name, kind in kept.kinds}
        for what, old, new in (
            ("encoding", manifest.encoding, target.encoding),
            ("layout", manifest.layout, target.layout),
            ("columns", columns, named),
        ):
            if old != new:
                raise StoreWriteError(
                    f"{place.url} has {what} {_shown(old)}, and the records to be added {_shown(new)}: "
                    "what is added to a store is made as the store was; or make another one"
                )
        return cls(manifest, rows_of(store))

    def with_more(self, more: Manifest) -> Manifest:
        """Return the manifest of the store with the records of another one after its own."""
        return appended(self.manifest, more, rows=self.rows)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        shown = ", ".join(f"{name} ({_kind(column)})" for name, column in sorted(value.items()))
        return shown or "none"
    name, sha256 = getattr(value, "name", None), getattr(value, "sha256", "")
    return repr(value) if name is None else f"{name!r} ({sha256[:12]})"


def _kind(column: ColumnEntry) -> str:
    return "strings" if column.dtype == STRING else f"{column.dtype} per {column.per}"
