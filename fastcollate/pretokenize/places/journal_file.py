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
        leaving: What it is called while the manifest takes its place.
        durable: The names of files that are on the disk.
    """

    def __init__(self, directory: Path) -> None:
        self.durable: set[str] = set()
        self.leaving = directory / f"{JOURNAL}.tmp"
        self._path = directory / JOURNAL
        self._synced = time.monotonic()
        self._thread = ThreadPoolExecutor(1)
        self._on_their_way: deque[Future[None]] = deque()

    def read(self) -> tuple[Begun, list[Finished]] | None:
        """Return what was begun, and what is finished of it; None where there is no journal."""
        return read_journal(self._path) or read_journal(self.leaving)

    def begin(self, begun: Begun, finished: Collection[Finished]) -> None:
        """Write the journal anew, of what is finished.

        Raises:
            StorageError: The disk failed.
        """
        with storage_errors(self._path):
            if not self._path.exists():
                with suppress(FileNotFoundError):
                    self.leaving.replace(self._path)
        with replacing(self._path) as file:
            file.write(line_of(begun))
            file.writelines(map(line_of, finished))
        for entry in finished:
            self.durable |= _files_of(entry)

    def add(self, begun: Begun, finished: Finished) -> None:
        """Begin to bring what became of a task to the disk, and then to say so.

        Raises:
            StorageError: The disk failed, for this task or one before.
        """
        while self._on_their_way and self._on_their_way[0].done():
            self._on_their_way.popleft().result()
        self._on_their_way.append(self._thread.submit(self._add, begun, finished))

    def wait(self) -> None:
        """Wait for the disk.

        Raises:
            StorageError: It failed.
        """
        while self._on_their_way:
            self._on_their_way.popleft().result()

    def leave(self) -> None:
        """Set the journal aside.

        Raises:
            StorageError: The disk failed.
        """
        with storage_errors(self._path):
            if self._path.exists():
                self._path.replace(self.leaving)

    def _add(self, begun: Begun, finished: Finished) -> None:
        files = _files_of(finished)
        for name in sorted(files):
            make_durable(self._path.with_name(name))
        self.durable |= files
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


def _files_of(finished: Finished) -> set[str]:
    names = {file.name for shard in finished.written.shards for file in shard.files}
    return names | {finished.rejected_file} if finished.rejected_bytes else names
