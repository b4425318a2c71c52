"""Where the files of a task are written, and how they come to where the store is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

from fastcollate.storage.local import make_durable, storage_errors
from fastcollate.storage.storage import open_storage

__all__ = ["Bench", "Drafts", "FolderDrafts", "ObjectDrafts"]


class Bench(NamedTuple):
    """Where a task writes its files.

    Attributes:
        directory: The directory.
        hand_over: What is called with the names of files that are complete; afterwards they are where the store is
            made, and perhaps no longer in the directory.
    """

    directory: Path
    hand_over: Callable[[Iterable[str]], None]


class Drafts(Protocol):
    """What the tasks of one run know of where the store is made, in this process and in others."""

    @property
    def mark(self) -> str:
        """What tells the names of this run's files from those of others; "" where there are no others."""
        ...

    def bench(self) -> AbstractContextManager[Bench]:
        """Lend a bench for one task."""
        ...


@dataclass(frozen=True)
class FolderDrafts:
    """Drafts that are written where the store is made.

    Args:
        directory: The directory of the store.
        mark: Nothing: nobody else writes there.
        shared: True if other machines write there too: each brings its own files to the disk. False (default)
            leaves that to who makes the store.
    """

    directory: Path
    mark: str = ""
    shared: bool = False

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """Lend the directory of the store."""
        yield Bench(self.directory, self._complete)

    def _complete(self, names: Iterable[str]) -> None:
        if self.shared:
            for name in names:
                make_durable(self.directory / name)


@dataclass(frozen=True)
class ObjectDrafts:
    """Drafts that are written to this machine, uploaded shard by shard, and removed here.

    Args:
        url: The prefix where the store is made.
        mark: What tells the names of this run's objects from those of others.
        room: A directory for what is temporary; on a machine that has no such directory the system has another.
        storage_options: Settings of the object store.
    """

    url: str
    mark: str
    room: Path
    storage_options: Mapping[str, Any] | None = field(repr=False)  # which may hold a secret

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """Lend a directory that is gone afterwards, whatever happens."""
        storage = open_storage(self.url, self.storage_options)
        known = self.room if self.room.is_dir() else None
        with storage_errors(self.room), TemporaryDirectory(dir=known) as lent:
            directory = Path(lent)

            def upload(names: Iterable[str]) -> None:
                for name in names:
                    storage.upload(directory / name, name)
                    (directory / name).unlink()

            yield Bench(directory, upload)
