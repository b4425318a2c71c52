"""The directory of a store while it is written."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastcollate.errors import StoreWriteError
from fastcollate.storage.local import make_durable, storage_error, write_whole
from fastcollate.store.manifest import MANIFEST, REJECTED, is_store_file

__all__ = ["StoreDirectory"]


class StoreDirectory:
    """The directory of a store being written: one writer's alone, and left as it was if nothing is committed.

    On POSIX systems the directory is locked, which ends with the process however it ends; elsewhere two
    writers are not told apart.

    Args:
        path: The directory, which is made, or taken over if it is empty or holds what a killed writer left.

    Raises:
        StoreWriteError: The directory holds something else, or another process is writing there.
        StorageError: The disk failed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = False
        self._handle: int | None = None
        try:
            if path.exists() and not path.is_dir():
                raise StoreWriteError(f"{path} is a file: a store is a directory; choose another path")
            if not path.exists():
                path.mkdir(parents=True)
                self._made = True
            self._lock()
            self._clear()
        except OSError as error:
            raise storage_error(path, error) from error

    def append_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add JSON lines to `rejected.jsonl`, which lies beside the manifest and is no part of the store.

        Raises:
            StorageError: The disk failed.
        """
        text = "".join(_json_line(line) + "\n" for line in lines)
        if not text:
            return
        path = self._path / REJECTED
        try:
            with path.open("a", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            raise storage_error(path, error) from error

    def release(self, manifest: bytes | None) -> None:
        """Give the directory back: with a manifest as a store, with None as it was before.

        Raises:
            StorageError: The disk failed; the directory is as it was before.
        """
        try:
            if manifest is not None:
                self._commit(manifest)
        except BaseException:
            manifest = None
            raise
        finally:
            if manifest is None:
                self._remove()
            self._unlock()

    def _commit(self, manifest: bytes) -> None:
        """Write the manifest, which comes last, and durably where the system can."""
        make_durable(self._path / REJECTED)
        write_whole(self._path / MANIFEST, manifest)
        if self._handle is not None:
            try:
                os.fsync(self._handle)
            except OSError as error:
                raise storage_error(self._path, error) from error

    def _remove(self) -> None:
        """Remove what this writer wrote, in silence: the first error is the one to report."""
        with suppress(OSError):
            if self._made:
                shutil.rmtree(self._path)
                return
            for entry in self._path.iterdir():
                if is_store_file(entry.name):
                    entry.unlink()

    def _clear(self) -> None:
        found = sorted(entry.name for entry in self._path.iterdir())
        if MANIFEST in found:
            self._unlock()
            raise StoreWriteError(f"{self._path} already holds a store: remove it or choose another directory")
        if strange := [name for name in found if not is_store_file(name)]:
            self._unlock()
            raise StoreWriteError(
                f"{self._path} already holds {strange[0]!r}: a store needs a directory of its own; choose another"
            )
        for name in found:
            (self._path / name).unlink()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl  # noqa: PLC0415  # not on Windows

        handle = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreWriteError(
                f"another process is writing a store at {self._path}: wait for it, or choose another directory"
            ) from None
        self._handle = handle

    def _unlock(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"


def _json_line(line: Mapping[str, Any]) -> str:
    """Return an object as JSON; the members of its members that have none (too long a number) as their types."""
    try:
        return json.dumps(line, sort_keys=True, default=_type_name)
    except (TypeError, ValueError, RecursionError):
        plain = {
            key: {str(name): _plain(member) for name, member in value.items()}
            if isinstance(value, Mapping)
            else _plain(value)
            for key, value in line.items()
        }
        return json.dumps(plain, sort_keys=True)


def _plain(value: object) -> Any:
    """Return a value as it is read from JSON, or its type if it has none."""
    try:
        return json.loads(json.dumps(value, default=_type_name))
    except (TypeError, ValueError, RecursionError):
        return _type_name(value)
