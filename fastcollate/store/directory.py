"""The directory of a store while it is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastcollate.errors import StoreWriteError
from fastcollate.storage.local import make_durable, storage_error, write_whole
from fastcollate.storage.own_directory import OwnDirectory
from fastcollate.store.manifest import JOURNAL, MANIFEST, REJECTED, is_store_file
from fastcollate.store.rejected_lines import add_lines

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
        self._own = OwnDirectory(path)
        self._path = path
        try:
            self._clear()
        except BaseException as error:
            self._own.release()
            if isinstance(error, OSError):
                raise storage_error(path, error) from error
            raise

    def append_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add JSON lines to `rejected.jsonl`, which lies beside the manifest and is no part of the store.

        Raises:
            StorageError: The disk failed.
        """
        add_lines(self._path / REJECTED, lines)

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
            self._own.release()

    def _commit(self, manifest: bytes) -> None:
        """Write the manifest, which comes last, and durably where the system can."""
        make_durable(self._path / REJECTED)
        write_whole(self._path / MANIFEST, manifest)
        self._own.sync()

    def _remove(self) -> None:
        """Remove what this writer wrote, in silence: the first error is the one to report."""
        with suppress(OSError):
            if self._own.made:
                shutil.rmtree(self._path)
                return
            for entry in self._path.iterdir():
                if is_store_file(entry.name):
                    entry.unlink()

    def _clear(self) -> None:
        found = sorted(entry.name for entry in self._path.iterdir())
        if MANIFEST in found:
            raise StoreWriteError(f"{self._path} already holds a store: remove it or choose another directory")
        if JOURNAL in found:
            raise StoreWriteError(
                f"{self._path} holds what an unfinished `fastcollate prepare` has made: run that command again to "
                "go on with it, or remove the directory"
            )
        if strange := [name for name in found if not is_store_file(name)]:
            raise StoreWriteError(
                f"{self._path} already holds {strange[0]!r}: a store needs a directory of its own; choose another"
            )
        for name in found:
            (self._path / name).unlink()
