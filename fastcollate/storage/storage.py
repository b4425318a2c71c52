"""What a place of bytes can do, be it a directory of this machine or a prefix of an object store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from fastcollate.errors import InputError
from fastcollate.storage.entry import Entry
from fastcollate.storage.folder import FolderStorage

__all__ = ["Storage", "is_object_url", "open_object", "open_storage", "parent_and_name"]

_OBJECTS = re.compile(r"(s3a?|gs|gcs|az|azure|abfss?)://", re.IGNORECASE)


class Storage(Protocol):
    """A directory, or a prefix of an object store; names are relative to it, with `/` between folders.

    Every method raises `StorageError` for what a disk, a network or a server refuses, and nothing else for it. No
    call waits for a server longer than its deadline.
    """

    @property
    def url(self) -> str:
        """What messages call the place: a path, or a URL without a `/` at its end."""
        ...

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file or object there, in all folders, sorted by name; none is no error."""
        ...

    def look_up(self, name: str) -> Entry | None:
        """Return what is known of a file or an object; None where there is none of that name."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return all bytes of a small file or object, in one request; None where there is none of that name."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Return a file or an object as a seekable stream, which is read ahead in large blocks."""
        ...

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return the bytes from each start to its stop, in the order asked for; neighbours come in one request."""
        ...

    def replacing(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Lend a stream to write to; its content appears under `name` whole, or not at all after an exception."""
        ...

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a small file or object, whole or not at all, and return whether it was written.

        With `if_absent` it is written only where there is none of that name: of two writers one gets True, and the
        other False. Otherwise what is there is replaced.
        """
        ...

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine there, in parts where it is large; it appears whole, or not at all."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file or an object another name, and replace what has it; an object is copied by its server."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file or an object; that there is none is no error."""
        ...

    def local_path(self, name: str) -> Path | None:
        """Return where a file lies on this machine, to be mapped; None for an object, which does not."""
        ...


def is_object_url(url: str | os.PathLike[str]) -> bool:
    """Tell whether `url` names something in an object store.

    >>> is_object_url("s3://bucket/data"), is_object_url("https://x.org/a.json"), is_object_url("data")
    (True, False, False)
    """
    return _OBJECTS.match(os.fspath(url)) is not None


def open_storage(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    one_version: bool = False,
) -> Storage:
    """Return the storage that a path or a URL stands for; nothing is read yet.

    Args:
        url: The path of a directory, or `s3://bucket/prefix`, `gs://…`, `az://…` or `abfs://…`.
        storage_options: Settings of the object store, such as `{"endpoint_url": "http://127.0.0.1:9000"}`, as
            `read_settings` explains them; by default the environment variables of its makers decide alone.
        one_version: True has all ranges of an object read from the version in which it was first read, and a
            `ReplacedError` raised once there is another; False (default) has that of one call only.

    Raises:
        InputError: The URL is of another kind, or a setting is unknown or wrong.
        StorageError: The extra `cloud` is not installed.

    >>> open_storage("data").url
    'data'
    >>> open_storage("ftp://x.org/data")
    Traceback (most recent call last):
    fastcollate.errors.InputError: ftp://x.org/data: cannot be opened as storage: give a directory, or a URL that
    begins with s3://, gs:// or az://
    """
    where = os.fspath(url)
    if is_object_url(where):
        from fastcollate.storage.objects import ObjectStorage  # noqa: PLC0415  # only for those who need it

        return ObjectStorage(where, storage_options, one_version=one_version)
    if "://" in where:
        raise InputError(
            f"{where}: cannot be opened as storage: give a directory, or a URL that begins with s3://, gs:// or az://",
            path=where,
            reason="bad_source",
        )
    return FolderStorage(where)


def parent_and_name(url: str) -> tuple[str, str]:
    """Return the prefix that an object's URL has, and its name there; a bucket alone has no name.

    >>> parent_and_name("s3://bucket/data/a.json"), parent_and_name("s3://bucket")
    (('s3://bucket/data', 'a.json'), ('s3://bucket', ''))
    """
    scheme, _, place = url.partition("://")
    parent, _, name = place.rpartition("/")
    return (f"{scheme}://{parent}", name) if parent else (url, "")


def open_object(url: str, storage_options: Mapping[str, Any] | None = None) -> BinaryIO:
    """Return the object with a URL as a seekable stream.

    Raises:
        InputError: A setting is unknown or wrong.
        StorageError: There is no such object, its store cannot be reached, or the extra `cloud` is not installed.
    """
    parent, name = parent_and_name(url)
    return open_storage(parent, storage_options).open(name)
