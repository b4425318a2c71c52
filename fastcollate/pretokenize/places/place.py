"""What can be done where a store is made, be it a directory or a prefix of an object store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from fastcollate.pretokenize.parts.journal import Begun
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.pretokenize.places.drafts import Drafts
from fastcollate.storage.storage import Storage

__all__ = ["Place", "Renamed"]


class Renamed(NamedTuple):
    """A file of a store, by its name until the store is whole, by its last one, and by its size."""

    draft: str
    final: str
    size: int


class Place(Protocol):
    """Where a store is made.

    A run claims the place and releases it. Its journal, which says what was begun and what is finished, is the
    place's own affair: no other method knows its files.

    Every method raises `StorageError` for what a disk or a server refuses.
    """

    @property
    def url(self) -> str:
        """What messages call the place."""
        ...

    @property
    def storage(self) -> Storage:
        """The place as storage."""
        ...

    @property
    def drafts(self) -> Drafts:
        """What tasks know of the place."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether others may write there at the same time, so that each task must be in the journal."""
        ...

    def claim(self) -> None:
        """Make ready to write there; raise `StoreWriteError` where another process is known to write."""
        ...

    def release(self) -> None:
        """Let others write there."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each file there, but for those of the journal."""
        ...

    def journal(self) -> tuple[Begun, list[Finished]] | None:
        """Return what was begun, and what is finished of it; None where nothing was."""
        ...

    def take(self, begun: Begun) -> bool:
        """Go on alone with what was begun; return whether another may have written until now."""
        ...

    def give_back(self) -> None:
        """Let others go on with what was taken."""
        ...

    def begin(self, begun: Begun, finished: Collection[Finished]) -> None:
        """Begin the journal anew, with what is finished."""
        ...

    def add(self, begun: Begun, finished: Finished) -> None:
        """Add a task to the journal; raise `StoreWriteError` where another process has taken over."""
        ...

    def wait(self) -> None:
        """Wait until all that was added is in the journal."""
        ...

    def check_alone(self) -> None:
        """Raise `StoreWriteError` where another process has taken over."""
        ...

    def rename(self, files: Sequence[Renamed]) -> None:
        """Give files their last names; one that has it already stays."""
        ...

    def commit(self, manifest: bytes) -> None:
        """Write the manifest; raise `StoreWriteError` where another process was first."""
        ...

    def settle(self) -> None:
        """Make what was committed last, as far as the system can."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, but none of another process."""
        ...

    def forget(self) -> None:
        """Delete the journal, but none of another process."""
        ...

    def hurry(self) -> None:
        """Wait no longer than some seconds for a server from now on: something has failed."""
        ...

    def undo(self) -> bool:
        """Delete the place if this run has made it, and return whether it did."""
        ...
