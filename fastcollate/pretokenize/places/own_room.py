"""A directory for what is temporary, which goes with its process."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

from fastcollate.errors import FastCollateError
from fastcollate.storage.local import storage_errors
from fastcollate.storage.own_directory import OwnDirectory

__all__ = ["OwnRoom", "room_of"]

_NAME = re.compile(r"fastcollate-drafts-[0-9a-f]{12}")


def room_of(mark: str) -> Path:
    """Return where the room of a run is, by the run's mark.

    >>> room_of("0123456789ab").name
    'fastcollate-drafts-0123456789ab'
    """
    return Path(gettempdir()) / f"fastcollate-drafts-{mark}"


class OwnRoom:
    """A new directory that only this user can read; rooms that killed processes left are removed.

    Args:
        path: As `room_of` has it.

    Raises:
        StorageError: The disk failed.
    """

    def __init__(self, path: Path) -> None:
        for other in path.parent.glob("fastcollate-drafts-*"):
            with suppress(OSError, FastCollateError):
                if _NAME.fullmatch(other.name) and not other.is_symlink() and _is_ours(other):
                    _remove(other, OwnDirectory(other))
        unlocked = path.with_name(path.name.replace("drafts", "new"))
        with storage_errors(path):
            unlocked.mkdir(mode=0o700)
            self._own = OwnDirectory(unlocked)
            unlocked.rename(path)  # whoever sees it by this name sees it locked
        self._path = path

    def leave(self) -> None:
        """Remove the directory."""
        _remove(self._path, self._own)


def _remove(path: Path, own: OwnDirectory) -> None:
    shutil.rmtree(path, ignore_errors=True)
    own.release()


def _is_ours(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
