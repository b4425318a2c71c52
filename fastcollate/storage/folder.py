"""A directory of this machine as storage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from fastcollate.errors import StorageError
from fastcollate.storage.entry import Entry
from fastcollate.storage.local import replacing, storage_errors

__all__ = ["FolderStorage"]


class FolderStorage:
    """A directory as a `Storage`, which explains the methods; folders are made when something is written.

    >>> import tempfile
    >>> storage = FolderStorage(tempfile.mkdtemp())
    >>> storage.put("a/claim", b"mine", if_absent=True), storage.put("a/claim", b"theirs", if_absent=True)
    (True, False)
    >>> storage.sizes(), bytes(storage.read_ranges("a/claim", [(1, 3)])[0])
    ({'a/claim': 4}, b'in')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._root = Path(path)

    @property
    def url(self) -> str:
        """The path of the directory."""
        return str(self._root)

    def __repr__(self) -> str:
        return f"FolderStorage({self.url!r})"

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, sorted by name."""
        found = {}
        with storage_errors(self._root):
            for here, _, files in os.walk(self._root, onerror=_raise):
                for file in files:
                    path = Path(here) / file
                    found[path.relative_to(self._root).as_posix()] = path.stat().st_size
        return dict(sorted(found.items()))

    def look_up(self, name: str) -> Entry | None:
        """Return what is known of a file; None where there is none."""
        path = self.local_path(name)
        with storage_errors(path):
            if not path.is_file():
                return None
            known = path.stat()
            return Entry(known.st_size, str(known.st_mtime_ns))

    def read(self, name: str) -> bytes | None:
        """Return all bytes of a file; None where there is none."""
        path = self.local_path(name)
        with storage_errors(path):
            return path.read_bytes() if path.is_file() else None

    def open(self, name: str) -> BinaryIO:
        """Return a file, opened for reading."""
        with storage_errors(self.local_path(name)):
            return self.local_path(name).open("rb")

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return the bytes from each start to its stop."""
        with storage_errors(self.local_path(name)), self.open(name) as file:
            return [self._part(name, file, start, stop) for start, stop in ranges]

    def _part(self, name: str, file: BinaryIO, start: int, stop: int) -> memoryview:
        file.seek(start)
        data = file.read(stop - start)
        if len(data) != stop - start:
            raise StorageError(
                f"{self.local_path(name)}: ends at byte {start + len(data):,}, before byte {stop:,} that is asked "
                "for: restore the file"
            )
        return memoryview(data)

    def replacing(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Lend a file that appears whole and durable, or not at all."""
        return self._replacing(self._for_writing(name))

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[BinaryIO]:
        with replacing(path) as file:
            yield file

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a file, and return whether it was written: with `if_absent` only where there is none."""
        path = self._for_writing(name)
        if not if_absent:
            with replacing(path) as file:
                file.write(data)
            return True
        draft = path.with_name(f"{path.name}.{uuid4().hex}")  # of this writer alone
        try:
            with replacing(draft) as file:
                file.write(data)
            with storage_errors(path), suppress(FileExistsError):
                os.link(draft, path)  # which, unlike a rename, replaces nothing
                return True
            return False
        finally:
            draft.unlink(missing_ok=True)

    def upload(self, path: Path, name: str) -> None:
        """Copy a file; the copy appears whole and durable, or not at all."""
        with replacing(self._for_writing(name)) as copy, storage_errors(path), path.open("rb") as file:
            shutil.copyfileobj(file, copy, 1 << 20)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        with storage_errors(self.local_path(old)):
            self.local_path(old).replace(self._for_writing(new))

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        with storage_errors(self.local_path(name)):
            self.local_path(name).unlink(missing_ok=True)

    def local_path(self, name: str) -> Path:
        """Return the path of a file."""
        return self._root / name

    def _for_writing(self, name: str) -> Path:
        path = self.local_path(name)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _raise(error: OSError) -> None:
    raise error
