"""A prefix of an object store (`s3://`, `gs://`, `az://`, `abfs://`) as storage, through obstore."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, BinaryIO, TypeVar, cast
from uuid import uuid4

from fastcollate.errors import FastCollateError, StorageError
from fastcollate.storage.entry import Entry
from fastcollate.storage.local import storage_error
from fastcollate.storage.network.block_file import BlockFile
from fastcollate.storage.network.calls import finished, started
from fastcollate.storage.network.client import connected, library
from fastcollate.storage.network.coalescing import cut_out, merged
from fastcollate.storage.network.failures import BrokenError, MissingError, ReplacedError, object_error
from fastcollate.storage.network.settings import read_settings

__all__ = ["ObjectStorage"]

Answer = TypeVar("Answer")
Range = tuple[int, int]

_AT_ONCE = 16  # requests of one call
_PAGE = 1000  # names of one answer
_PART_BYTES = 1 << 23  # of an upload,
_PARTS_AT_ONCE = 4
_MOST_PARTS = 9000  # of which S3 takes 10,000;
_SLOWEST = 1 << 18  # bytes a second that an upload may fall to
_IN_MEMORY = 1 << 24  # of what is written through a stream
_BUFFER = 1 << 16
_PAUSE = 0.1  # seconds before a listing is begun again
_MARK = "fastcollatewriter"  # says which writer made an object that is not to be replaced


class ObjectStorage:
    """A prefix of an object store as a `Storage`, which explains the methods.

    A request that fails by the network's or the server's fault is tried again, with growing pauses, until the
    deadline of its call (`timeout`, 60 seconds by default) has passed.

    Args:
        url: `s3://bucket/prefix`, `gs://…`, `az://…` or `abfs://…`.
        storage_options: As `read_settings` explains them.
        one_version: Whether an object keeps, for all reads of ranges, the version in which it was first read.

    Raises:
        InputError: The URL names no bucket, or a setting is unknown or wrong.
        StorageError: The extra `cloud` is not installed, or a setting is missing.
    """

    def __init__(
        self, url: str, storage_options: Mapping[str, Any] | None = None, *, one_version: bool = False
    ) -> None:
        self._url = url.rstrip("/")
        self._versions: dict[str, str] | None = {} if one_version else None
        settings = read_settings(url, storage_options)
        self._prefix, self._seconds = settings.prefix, settings.seconds
        self._obstore = library(self._url)
        self._store = connected(settings, self._url)
        self._keeps_first = False  # whether it is known that the server heeds conditions

    @property
    def url(self) -> str:
        """The URL."""
        return self._url

    def __repr__(self) -> str:
        return f"ObjectStorage({self._url!r})"

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each object below the prefix, sorted by name."""
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                return self._listed()
            except BrokenError:  # which the client does not try again in the middle of a page
                if time.monotonic() + _PAUSE > deadline:
                    raise
                time.sleep(_PAUSE)

    def _listed(self) -> dict[str, int]:
        found = dict[str, int]()
        pages = self._obstore.list(self._store, self._prefix or None, chunk_size=_PAGE)
        while (page := self._answer(lambda: _next(pages))) is not None:
            for entry in page:
                name = entry["path"][len(self._prefix) :].lstrip("/")
                if name:  # a "folder" that some programs make is an empty object, with the name of the prefix
                    found[name] = entry["size"]
        return dict(sorted(found.items()))

    def look_up(self, name: str) -> Entry | None:
        """Return the size and the ETag of an object; None where there is none."""
        try:
            meta = self._answer(lambda: self._obstore.head_async(self._store, self._key(name)), name, absent=True)
        except FileNotFoundError:
            return None
        return Entry(meta["size"], meta["e_tag"] or str(meta["last_modified"]))

    def read(self, name: str) -> bytes | None:
        """Return all bytes of an object in one request; None where there is none."""
        try:
            return bytes(self._answer(lambda: self._whole(name), name, absent=True))
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """Return an object as a stream; a reader never gets parts of two versions of it."""
        found = self.look_up(name)
        if found is None:
            raise object_error(self._at(name), FileNotFoundError(), self._seconds)
        version = found.version if found.version.startswith('"') else None

        def fetch(start: int, stop: int) -> Future[memoryview]:
            return started(self._told(lambda: self._range(name, start, stop, version=version), name))

        return BufferedReader(BlockFile(found.size, fetch, finished), _BUFFER)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return the bytes from each start to its stop, all of one version of the object."""
        wanted = merged(ranges)
        blocks = finished(started(self._ranges(name, wanted)))
        return [cut_out(each, blocks) for each in ranges]

    @contextmanager
    def replacing(self, name: str) -> Iterator[BinaryIO]:
        """Lend a stream, whose content is uploaded when it is whole."""
        try:
            with SpooledTemporaryFile(_IN_MEMORY) as file:
                yield cast("BinaryIO", file)
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                self._upload(cast("BinaryIO", file), size, name)
        except OSError as error:
            raise storage_error(Path(gettempdir()), error) from error

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object in one request, and return whether it was written: with `if_absent`, by one writer."""
        if not if_absent:
            self._put(name, data, mode="overwrite")
            return True
        mark = uuid4().hex
        written = self._create(name, data, mark)
        if written and not self._keeps_first:
            if self._create(name, data, mark, again=True):
                raise StorageError(
                    f"{self._at(name)}: the server replaces an object that it was asked not to replace, so of two "
                    "writers none would be told: use a server that heeds If-None-Match"
                )
            self._keeps_first = True
        return written

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine there, in parts where it has more than 8 MiB."""
        try:
            size = path.stat().st_size
        except OSError as error:
            raise storage_error(path, error) from error
        self._upload(path, size, name)

    def rename(self, old: str, new: str) -> None:
        """Copy an object on the server, and delete the first one. S3 copies objects of at most 5 GiB."""
        self._answer(lambda: self._obstore.copy_async(self._store, self._key(old), self._key(new)), old)
        self.delete(old)

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        with suppress(FileNotFoundError):
            self._answer(lambda: self._obstore.delete_async(self._store, self._key(name)), name, absent=True)

    def local_path(self, name: str) -> None:  # noqa: ARG002  # of the protocol
        """Return None: an object is not on this machine."""
        return

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _at(self, name: str) -> str:
        return f"{self._url}/{name}" if name else self._url

    def _create(self, name: str, data: bytes, mark: str, *, again: bool = False) -> bool:
        """Write an object where there is none; an object with our mark is there because an answer was lost."""
        try:
            self._put(name, data, mode="create", attributes={_MARK: mark})
        except FileExistsError:
            if again:
                return False
            key = self._key(name)
            there = self._answer(lambda: self._obstore.get_async(self._store, key, options={"head": True}), name)
            return bool(there.attributes.get(_MARK) == mark)
        return True

    def _put(self, name: str, data: bytes, **how: Any) -> None:
        self._answer(
            lambda: self._obstore.put_async(self._store, self._key(name), data, use_multipart=False, **how),
            name,
            seconds=self._seconds + len(data) / _SLOWEST,
        )

    def _upload(self, source: Path | BinaryIO, size: int, name: str) -> None:
        parts = {"chunk_size": max(_PART_BYTES, -(-size // _MOST_PARTS)), "max_concurrency": _PARTS_AT_ONCE}
        self._answer(
            lambda: self._obstore.put_async(self._store, self._key(name), source, **parts),
            name,
            seconds=self._seconds + size / _SLOWEST,
        )

    async def _ranges(self, name: str, wanted: list[Range]) -> dict[Range, memoryview]:
        gate, versions = asyncio.Semaphore(_AT_ONCE), set[str]()

        async def fetched(start: int, stop: int) -> memoryview:
            async with gate:
                return await self._told(lambda: self._range(name, start, stop, versions=versions), name)

        tasks = [asyncio.ensure_future(fetched(*each)) for each in wanted]
        try:
            blocks = await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # the others, where one failed
                task.cancel()
        if len(versions) > 1:
            raise ReplacedError.of(self._at(name))
        return dict(zip(wanted, blocks, strict=True))

    async def _range(
        self, name: str, start: int, stop: int, *, version: str | None = None, versions: set[str] | None = None
    ) -> memoryview:
        first = (self._versions or {}).get(name, "")
        version = version or (first if first.startswith('"') else None)
        options = {"range": (start, stop)} | ({"if_match": version} if version else {})
        answer = await self._obstore.get_async(self._store, self._key(name), options=options)
        data = memoryview(await answer.bytes_async())
        if len(data) != stop - start:
            raise MissingError(
                f"{self._at(name)}: ends at byte {start + len(data):,}, before byte {stop:,} that is asked for: "
                "upload the object again"
            )
        found = self._version(name, answer)
        if versions is not None:
            versions.add(found)
        return data

    async def _whole(self, name: str) -> memoryview:
        answer = await self._obstore.get_async(self._store, self._key(name))
        data = memoryview(await answer.bytes_async())
        self._version(name, answer)
        return data

    def _version(self, name: str, answer: Any) -> str:
        """The ETag of an answer; an error where an object is to keep its version, and has not."""
        found = str(answer.meta["e_tag"] or "")
        if self._versions is not None and self._versions.setdefault(name, found) != found:
            raise ReplacedError.of(self._at(name))
        return found

    def _answer(
        self, call: Callable[[], Awaitable[Answer]], name: str = "", *, absent: bool = False, seconds: float = 0
    ) -> Answer:
        return finished(started(self._told(call, name, absent=absent, seconds=seconds)))

    async def _told(
        self, call: Callable[[], Awaitable[Answer]], name: str, *, absent: bool = False, seconds: float = 0
    ) -> Answer:
        """Wait for an answer until the deadline, and turn what goes wrong into our own error.

        A missing object is a FileNotFoundError where `absent` allows it, one that is there a FileExistsError.
        """
        seconds = seconds or self._seconds
        try:
            return await asyncio.wait_for(call(), seconds)
        except (asyncio.CancelledError, FastCollateError):
            raise
        except BaseException as error:  # a panic of the client is no Exception
            if type(error).__name__ == "AlreadyExistsError":
                raise FileExistsError from error
            if absent and isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise
            raise object_error(self._at(name), error, seconds) from error


async def _next(pages: Any) -> Any:
    """The next page of a listing; None is the end."""
    async for page in pages:
        return page
    return None
