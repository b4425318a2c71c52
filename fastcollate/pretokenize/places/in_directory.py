"""A directory in which a store is made, by one process alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fastcollate.pretokenize.parts.journal import Begun
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.pretokenize.places.drafts import FolderDrafts
from fastcollate.pretokenize.places.journal_file import JournalFile
from fastcollate.pretokenize.places.place import Renamed
from fastcollate.storage.folder import FolderStorage
from fastcollate.storage.local import make_durable, storage_errors, write_whole
from fastcollate.storage.own_directory import OwnDirectory
from fastcollate.store.manifest import MANIFEST

__all__ = ["DirectoryPlace"]


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
        self._journal = JournalFile(path)

    def claim(self) -> None:
        """Make the directory, and lock it."""
        self._own = OwnDirectory(self._path)

    def release(self) -> None:
        """Unlock it."""
        self._journal.close()
        self._own.release()

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each file, and of whatever else is there."""
        with storage_errors(self._path), os.scandir(self._path) as entries:
            return {e.name: e.stat().st_size for e in entries if e.name not in self._journal.names}

    def journal(self) -> tuple[Begun, list[Finished]] | None:
        """Return what the journal says."""
        return self._journal.read()

    def take(self, begun: Begun) -> bool:  # noqa: ARG002  # of the protocol
        """Return False: the lock keeps others out."""
        return False

    def give_back(self) -> None:
        """Do nothing: nothing was taken."""

    def begin(self, begun: Begun, finished: Collection[Finished]) -> None:
        """Write the journal of what is finished."""
        if finished:
            self._journal.begin(begun, finished)
        else:
            self.forget()

    def add(self, begun: Begun, finished: Finished) -> None:
        """Add a line, once what it speaks of is on the disk."""
        self._journal.add(begun, finished)

    def wait(self) -> None:
        """Wait for the disk."""
        self._journal.wait()

    def check_alone(self) -> None:
        """Do nothing: the lock keeps others out."""

    def rename(self, files: Sequence[Renamed]) -> None:
        """Bring files to the disk that are not there yet, and give all their last names."""
        with storage_errors(self._path):
            for file in files:
                if file.draft not in self._journal.durable:
                    make_durable(self._path / file.draft)
                with suppress(FileNotFoundError):  # which has its name from a run that was stopped here
                    (self._path / file.draft).replace(self._path / file.final)

    def commit(self, manifest: bytes) -> None:
        """Bring all names to the disk, set the journal aside, and write the manifest."""
        self._own.sync()
        self._journal.leave()
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
        self.delete(self._journal.names)

    def hurry(self) -> None:
        """Do nothing: there is no server."""

    def undo(self) -> bool:
        """Delete the directory if it was not there before."""
        if self._own.made:
            with storage_errors(self._path):
                shutil.rmtree(self._path)
        return self._own.made
