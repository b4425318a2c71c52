"""A directory that one process writes alone."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from fastcollate.errors import StoreWriteError
from fastcollate.storage.local import make_names_durable, storage_error

__all__ = ["OwnDirectory"]

log = logging.getLogger("fastcollate")


class OwnDirectory:
    """A directory being written by this process alone; it is made if it is not there.

    On POSIX systems the directory is locked, which ends with the process however it ends. Elsewhere, and on file
    systems without locks, two writers are not told apart.

    Attributes:
        path: The directory.
        made: Whether it was made here.

    Raises:
        StoreWriteError: The path is a file, or another process is writing there.
        StorageError: The disk failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made = False
        self._handle: int | None = None
        try:
            if path.exists() and not path.is_dir():
                raise StoreWriteError(f"{path} is a file: a store is a directory; choose another path")
            if not path.exists():
                path.mkdir(parents=True)
                self.made = True
            if sys.platform != "win32":
                self._handle = os.open(path, os.O_RDONLY)
                self._lock(self._handle)
        except OSError as error:
            self.release()
            raise storage_error(path, error) from error

    def _lock(self, handle: int) -> None:
        import fcntl  # noqa: PLC0415  # not on Windows

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise StoreWriteError(
                f"another process is writing a store at {self.path}: wait for it, or choose another directory"
            ) from None
        except OSError as error:  # Lustre without its option, some FUSE
            log.warning("%s: no locks here (%s): let no other process write there", self.path, error.strerror)

    def sync(self) -> None:
        """Bring the names in the directory to the disk, where the system can.

        Raises:
            StorageError: The disk failed.
        """
        make_names_durable(self.path)

    def release(self) -> None:
        """Let others write there."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
