"""Foreign files that somebody hashed when they were written: compared while their rows are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StoreCorruptError
from fastcollate.store.shards.background import hash_of

__all__ = ["HashedFile"]


class HashedFile:
    """A file and the hash that its index has of it.

    Args:
        path: The file.
        data: Its bytes, mapped.
        algorithm: The hash, one of `hashlib.algorithms_guaranteed`.
        digest: What it must be, in hexadecimal.

    Attributes:
        is_whole: Whether the file is known to have its hash.
    """

    def __init__(self, path: Path, data: NDArray[np.uint8], algorithm: str, digest: str) -> None:
        self.path, self.is_whole = path, False
        self._data, self._algorithm, self._digest = data, algorithm, digest

    @classmethod
    def of(cls, path: Path, data: NDArray[np.uint8], hashes: Mapping[str, Any]) -> list[HashedFile]:
        """Return the file by the first of its hashes that Python knows, such as SHA-1 and not xxHash, if any."""
        known = [name for name in hashes if name in hashlib.algorithms_guaranteed and "shake" not in name]
        return [cls(path, data, name, str(hashes[name])) for name in known[:1]]

    def check(self, rest: Callable[[float], object], is_closed: Callable[[], bool]) -> None:
        """Hash the file, and call `rest` after each slice with the seconds that it took.

        Raises:
            StoreCorruptError: It differs.
        """
        found = None if self.is_whole else hash_of([self._data], rest, is_closed, self._algorithm)
        if found is None:
            return
        if found != self._digest:
            raise StoreCorruptError(
                f"{self.path} has changed since it was written: its {self._algorithm} is not the one in its "
                "index, and any of its rows may be wrong; restore the file or write it again"
            )
        self.is_whole = True
