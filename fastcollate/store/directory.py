from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from fastcollate.errors import StoreWriteError
from fastcollate.storage.local import storage_errors
from fastcollate.store.manifest import MANIFEST, is_store_file

__all__ = ["StoreDirectory"]


class StoreDirectory:
    """The directory of a store being written: one writer's alone, and left as it was if nothing is committed.

    On POSIX systems the directory is locked, which ends with the process however it ends; elsewhere two
    writers are not told apart.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False
        self._handle: int | None = None

    def claim(self) -> None:
        """Make the directory, or take over one that is empty or holds what a killed writer left.

        Raises:
            StoreWriteError: it holds something else, or another process is writing there.
        """
        with storage_errors(self.path):
            if self.path.exists() and not self.path.is_dir():
                raise StoreWriteError(f"{self.path} is a file: a store is a directory; choose another path")
            if not self.path.exists():
                self.path.mkdir(parents=True)
                self._made = True
            self._lock()
            self._clear()

    def release(self, *, keep: bool) -> None:
        """Give the directory back, without what this writer wrote unless it is to `keep`.

        The first error is the one to report, so removing stays silent.
        """
        with suppress(OSError):
            if not keep and self._made:
                shutil.rmtree(self.path)
            elif not keep:
                for entry in self.path.iterdir():
                    if is_store_file(entry.name):
                        entry.unlink()
        self._unlock()

    def sync(self) -> None:
        """Make a rename inside the directory durable, where the system can."""
        if self._handle is not None:
            with storage_errors(self.path):
                os.fsync(self._handle)

    def _clear(self) -> None:
        found = sorted(entry.name for entry in self.path.iterdir())
        if MANIFEST in found:
            self._unlock()
            raise StoreWriteError(f"{self.path} already holds a store: remove it or choose another directory")
        if strange := [name for name in found if not is_store_file(name)]:
            self._unlock()
            raise StoreWriteError(
                f"{self.path} already holds {strange[0]!r}: a store needs a directory of its own; choose another"
            )
        for name in found:
            (self.path / name).unlink()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl  # noqa: PLC0415  # not on Windows

        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreWriteError(
                f"another process is writing a store at {self.path}: wait for it, or choose another directory"
            ) from None
        self._handle = handle

    def _unlock(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
