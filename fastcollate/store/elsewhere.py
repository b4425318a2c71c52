"""A store that is not on this machine, of which its manifest tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from fastcollate.storage.storage import is_object_url
from fastcollate.store.opened import Opened
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.dictionaries import Dictionaries
from fastcollate.store.shards.shard import Shard
from fastcollate.store.verify import not_here, read_manifest

__all__ = ["store_at"]


def store_at(path: str, storage_options: Mapping[str, Any] | None = None) -> TokenStore:
    """Return the store at `path`; of one in an object store the manifest alone is read.

    Such a store knows its length, its encoding, its fingerprint and whatever else the manifest says. Asked for
    anything else, such as a record, it raises a `StoreError`.

    Args:
        path: The directory, or the URL of a prefix.
        storage_options: Settings of the object store; see `open_storage`.

    Raises:
        StoreError: There is no store.
        StorageError: The disk or the object store failed.
    """
    if not is_object_url(path):
        return TokenStore(path)
    manifest = read_manifest(path, storage_options=storage_options)
    absent = _Absent(path)
    store = TokenStore.__new__(TokenStore)
    store.__dict__.update(
        path=path,
        fingerprint=manifest.fingerprint,
        _verify="none",
        _wanted=manifest.fingerprint,
        _parts=(),
        _count=manifest.records,
        _opened=Opened(manifest, cast("list[Shard]", absent), Dictionaries([absent.read])),
    )
    return store


class _Absent:
    """The shards of a store that is elsewhere: there are some, and whoever looks at one is told."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self, _: str) -> NoReturn:
        """Raise."""
        raise not_here(self._url)

    def __iter__(self) -> NoReturn:
        raise not_here(self._url)

    def __len__(self) -> NoReturn:
        raise not_here(self._url)

    def __getitem__(self, _: object) -> NoReturn:
        raise not_here(self._url)
