"""A directory in which a store is made, by one process alone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fastcollate.pretokenize.parts.journal import Begun, line_of, read_journal
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.pretokenize.places.drafts import FolderDrafts
from fastcollate.pretokenize.places.place import Renamed
from fastcollate.storage.folder import FolderStorage
from fastcollate.storage.local import replacing, storage_errors, write_whole
from fastcollate.storage.own_directory import OwnDirectory
from fastcollate.store.manifest import JOURNAL, MANIFEST

__all__ = ["DirectoryPlace"]

_LEAVING = f"{JOURNAL}.tmp"  # the journal while the manifest takes its place
_DURABLE_SECONDS = 2.0


class DirectoryPlace:
    """A directory as a `Place`, which explains the methods; its lock ends with the process, however that ends.

    Args:
        path: The directory, which is made if it is not there.
    """

    is_shared = False

    def __init__(self, path: Path) -> None:
        self.url = str(path)
        self.storage = FolderStorage(path)
        self.drafts = FolderDrafts(path)
        self._path = path
        self._durable = time.monotonic()

    def claim(self) -> None:
        """Make the directory, and lock it."""
        self._own = OwnDirectory(self._path)

    def release(self) -> None:
        """Unlock it."""
        self._own.release()

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each file, and of whatever else is there."""
        with storage_errors(self._path), os.scandir(self._path) as entries:
            return {e.name: e.stat().st_size for e in entries if e.name not in (JOURNAL, _LEAVING)}

    def journal(self) -> tuple[Begun, list[Finished]] | None:
        """Return what the journal says."""
        return read_journal(self._path / JOURNAL) or read_journal(self._path / _LEAVING)

    def take(self, begun: Begun) -> bool:  # noqa: ARG002  # of the protocol
        """Return False: the lock keeps others out."""
        return False

    def give_back(self) -> None:
        """Do nothing: nothing was taken."""

    def begin(self, begun: Begun, finished: Collection[Finished]) -> None:
        """Write the journal of what is finished."""
        if not finished:
            self.forget()
            return
        with storage_errors(self._path):
            if not (self._path / JOURNAL).exists():
                with suppress(FileNotFoundError):
                    (self._path / _LEAVING).replace(self._path / JOURNAL)
        with replacing(self._path / JOURNAL) as file:
            file.write(line_of(begun))
            file.writelines(map(line_of, finished))

    def add(self, begun: Begun, finished: Finished) -> None:
        """Add a line."""
        path = self._path / JOURNAL
        with storage_errors(path):
            if not path.exists():
                with replacing(path) as file:
                    file.write(line_of(begun))
            with path.open("ab") as file:
                file.write(line_of(finished))
                # All that a line speaks of is durable; the line need not be at once.
                if time.monotonic() - self._durable > _DURABLE_SECONDS:
                    file.flush()
                    os.fsync(file.fileno())
                    self._durable = time.monotonic()

    def check_alone(self) -> None:
        """Do nothing: the lock keeps others out."""

    def rename(self, files: Sequence[Renamed]) -> None:
        """Give files their last names."""
        with storage_errors(self._path):
            for file in files:
                with suppress(FileNotFoundError):  # which has its name from a run that was stopped here
                    (self._path / file.draft).replace(self._path / file.final)

    def commit(self, manifest: bytes) -> None:
        """Bring all names to the disk, set the journal aside, and write the manifest."""
        self._own.sync()
        with storage_errors(self._path):
            if (self._path / JOURNAL).exists():
                (self._path / JOURNAL).replace(self._path / _LEAVING)
        write_whole(self._path / MANIFEST, manifest)

    def settle(self) -> None:
        """Bring the manifest's name to the disk."""
        self._own.sync()

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        for name in names:
            self.storage.delete(name)

    def forget(self) -> None:
        """Delete the journal."""
        self.delete([JOURNAL, _LEAVING])

    def hurry(self) -> None:
        """Do nothing: there is no server."""

    def undo(self) -> bool:
        """Delete the directory if it was not there before."""
        if self._own.made:
            with storage_errors(self._path):
                shutil.rmtree(self._path)
        return self._own.made
