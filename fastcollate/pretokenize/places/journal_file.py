"""The journal of a directory, written while work goes on: no line is there before what it speaks of is durable."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fastcollate.pretokenize.parts.journal import Begun, line_of, read_journal
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.storage.local import make_durable, replacing, storage_errors
from fastcollate.store.manifest import JOURNAL

__all__ = ["JournalFile"]

_DURABLE_SECONDS = 2.0


class JournalFile:
    """The file that says what was begun in a directory, and what is finished.

    A thread brings the files of a finished task to the disk and then adds its line, so that nobody waits for a
    disk while there is something to do.

    Args:
        directory: The directory.

    Attributes:
        names: What it is called, and what while the manifest takes its place.
        durable: The names of files that are on the disk.
    """

    names = (JOURNAL, f"{JOURNAL}.tmp")

    def __init__(self, directory: Path) -> None:
        self.durable: set[str] = set()
        self._path, self._leaving = (directory / name for name in self.names)
        self._synced = time.monotonic()
        self._thread = ThreadPoolExecutor(1)
        self._on_their_way: deque[Future[None]] = deque()

    def read(self) -> tuple[Begun, list[Finished]] | None:
        """Return what was begun, and what is finished of it; None where there is no journal."""
        return read_journal(self._path) or read_journal(self._leaving)

    def begin(self, begun: Begun, finished: Collection[Finished]) -> None:
        """Write the journal anew, of what is finished.

        Raises:
            StorageError: The disk failed.
        """
        with storage_errors(self._path):
            if not self._path.exists():
                with suppress(FileNotFoundError):
                    self._leaving.replace(self._path)
        with replacing(self._path) as file:
            file.write(line_of(begun))
            file.writelines(map(line_of, finished))
        for entry in finished:
            self.durable.update(entry.sizes)

    def add(self, begun: Begun, finished: Finished) -> None:
        """Begin to bring what became of a task to the disk, and then to say so.

        Raises:
            StorageError: The disk failed, for this task or one before.
        """
        while self._on_their_way and self._on_their_way[0].done():
            self._on_their_way.popleft().result()
        self._on_their_way.append(self._thread.submit(self._add, begun, finished))

    def wait(self) -> None:
        """Wait until nothing is on its way to the disk, also if something does not get there.

        Raises:
            StorageError: The disk failed.
        """
        errors = [error for each in self._on_their_way if (error := each.exception()) is not None]
        self._on_their_way.clear()
        if errors:
            raise errors[0]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def leave(self) -> None:
        """Set the journal aside.

        Raises:
            StorageError: The disk failed.
        """
        with storage_errors(self._path):
            if self._path.exists():
                self._path.replace(self._leaving)

    def _add(self, begun: Begun, finished: Finished) -> None:
        for name in finished.sizes:
            make_durable(self._path.with_name(name))
        self.durable.update(finished.sizes)
        with storage_errors(self._path):
            if not self._path.exists():
                with replacing(self._path) as file:
                    file.write(line_of(begun))
            with self._path.open("ab") as file:
                file.write(line_of(finished))
                # All that a line speaks of is durable; the line need not be at once.
                if time.monotonic() - self._synced > _DURABLE_SECONDS:
                    file.flush()
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()
