"""Whether the files that a pass reads are still those that were mapped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from fastcollate.errors import StoreChangedError
from fastcollate.storage.local import MappedFile

__all__ = ["UnchangedFiles"]

_SHARE = 100  # looking takes one part in so many of the time, at most


class UnchangedFiles:
    """`UnchangedFiles` look before each parcel whether somebody has changed a file under its reader.

    Whoever reads a mapped file sees what others write into it, and dies without a word where it was cut. To look
    takes some microseconds a file: the more files, the less often they are looked at, so that it takes a hundredth
    of the time.

    Args:
        mapped: What returns the files that were read so far.
    """

    def __init__(self, mapped: Callable[[], Iterable[MappedFile]]) -> None:
        self._mapped = mapped
        self._next = 0.0

    def check(self, *, at_once: bool = False) -> None:
        """Look at all files, unless that was done just now.

        Args:
            at_once: Whether to look in any case.

        Raises:
            StoreChangedError: A file has changed, or is gone; it is named.
            StorageError: The disk failed.
        """
        if time.perf_counter() < self._next and not at_once:
            return
        begun = time.thread_time()
        for file in self._mapped():
            found = file.identity_now()
            if found != file.identity:
                raise StoreChangedError(_why(file, found))
        self._next = time.perf_counter() + _SHARE * (time.thread_time() - begun)


def _why(file: MappedFile, found: tuple[int, ...] | None) -> str:
    if found is None:
        what = "is gone"
    elif found[2] != len(file.data):
        what = f"has {found[2]} bytes where it had {len(file.data)}"
    elif found[:2] != file.identity[:2]:
        what = "was replaced by another file"
    else:
        what = "was written to"
    return (
        f"{file.path} {what} while it was read, and what was read of it since may be wrong: files of a corpus in "
        "use may not change; restore the file, and resume from the last checkpoint before that"
    )
