"""Hashes of a store's files: of bytes on their way out, and of bytes as they lie on disk."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from io import RawIOBase
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastcollate.storage.local import storage_errors
from fastcollate.storage.network.block_cache import BLOCK_BYTES

__all__ = ["HashingFile", "block_checksums", "changed", "file_hash", "index_hash"]

_MUCH = 1 << 20  # bytes, whose hash takes many times as long as a thread to start


class HashingFile(RawIOBase):
    """What is written to a file, hashed on its way: what the disk makes of it is for a reader to find out.

    Much at once is hashed by a thread, while it is written.

    Attributes:
        count: The bytes so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.count = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes, and hash them."""
        size = memoryview(data).nbytes
        if size < _MUCH:
            self._digest.update(data)
            self._file.write(data)
        else:
            hashing = Thread(target=self._digest.update, args=(data,))
            hashing.start()
            try:
                self._file.write(data)
            finally:
                hashing.join()
        self.count += size
        return size

    @property
    def sha256(self) -> str:
        """The hash of the bytes so far."""
        return self._digest.hexdigest()


def index_hash(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the SHA-256 of the arrays of a shard but its token ids: its index."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def block_checksums(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each block of 16 KiB of the values, the last one as long as it is: uint32[M].

    >>> block_checksums(np.zeros(8193, np.uint16))
    array([2874462854, 1104745215], dtype=uint32)
    """
    data = np.ascontiguousarray(values).view(np.uint8).data
    sums = (zlib.crc32(data[at : at + BLOCK_BYTES]) for at in range(0, len(data), BLOCK_BYTES))
    return np.fromiter(sums, np.uint32, -(-len(data) // BLOCK_BYTES))


def changed(path: Path | str) -> str:
    """Return the message for a file whose hash is not the manifest's."""
    return (
        f"{path} has changed since it was written: its SHA-256 is not the manifest's; restore the file or prepare "
        "the store again"
    )


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with storage_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
