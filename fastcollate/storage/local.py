"""Files of this machine: there whole or not at all, and a failing disk told in our own words."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StorageError
from fastcollate.storage.pages import Pages

__all__ = [
    "MappedFile",
    "copy",
    "link",
    "make_durable",
    "make_names_durable",
    "map_file",
    "replacing",
    "storage_error",
    "storage_errors",
    "write_whole",
]

# What file systems answer that cannot bring a directory to the disk by itself: FUSE, CIFS, 9p and others.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EACCES, errno.EPERM, errno.EBADF}


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return our own error for what a disk refused at `path`.

    >>> print(storage_error(Path("store/manifest.json"), OSError(28, "No space left on device")))
    store/manifest.json: No space left on device: free the disk or check the permissions, then try again
    """
    why = error.strerror or error
    fix = "free the disk or check the permissions, then try again"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        fix = "let the process open more (ulimit -n), or close some"
    return StorageError(f"{path}: {why}: {fix}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses within the block into our own error, which names `path`.

    Raises:
        StorageError: The disk failed.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under `path` whole and durable, or not at all.

    Raises:
        StorageError: The disk failed.
    """
    with replacing(path) as file:
        file.write(data)


def make_durable(path: Path) -> None:
    """Bring a file that was written to the disk, if it is there.

    Raises:
        StorageError: The disk failed.
    """
    with storage_errors(path), suppress(FileNotFoundError), path.open("rb") as file:
        os.fsync(file.fileno())


def make_names_durable(directory: Path) -> None:
    """Bring to the disk which files a directory has, where the system can.

    Raises:
        StorageError: The disk failed.
    """
    if sys.platform == "win32":
        return
    try:
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise storage_error(directory, error) from error


def link(source: Path, target: Path) -> bool:
    """Give a file a second name, and return whether the file system has that, between these two directories.

    The bytes are there once, until both names are removed. A symbolic link is followed to the file itself.
    """
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        return False
    return True


def copy(source: Path, target: Path) -> None:
    """Copy the bytes of a file, which are not on the disk yet: `make_durable` brings them there.

    Raises:
        StorageError: The disk failed, or there is no such file.
    """
    try:
        shutil.copyfile(source, target)
    except OSError as error:  # one of opening a file names that alone
        opening = error.filename is not None and error.filename2 is None
        raise storage_error(Path(error.filename) if opening else target, error) from error


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Lend a file that appears under `path` whole, or not at all.

    Args:
        path: The file.
        durable: True (default) brings it to the disk before it appears; False leaves that to `make_durable`.

    Raises:
        StorageError: The disk failed.
    """
    draft = path.with_name(path.name + ".tmp")
    with storage_errors(path):
        with draft.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)


class MappedFile(NamedTuple):
    """The bytes of a file as they were mapped.

    Attributes:
        data: The bytes, a read-only uint8[S].
        identity: Which file that is, of which size, and when it was written: another one of its name has another.
        path: Its name.
    """

    data: NDArray[np.uint8]
    identity: tuple[int, ...]
    path: Path

    def identity_now(self) -> tuple[int, ...] | None:
        """Return the identity of the file that has the name today; None if there is none.

        Raises:
            StorageError: The disk failed.
        """
        try:
            return _identity(os.stat(self.path))  # noqa: PTH116  # asked for often: Path.stat takes twice as long
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(self.path, error) from error


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def map_file(path: Path) -> MappedFile:
    """Map a file, whose bytes are read when they are looked at; no descriptor stays open.

    Raises:
        StorageError: The system does not let us read or map it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two bytes"
    >>> write_whole(path, b"Hi")
    >>> map_file(path).data
    array([ 72, 105], dtype=uint8)
    """
    with storage_errors(path), path.open("rb") as file:
        found = os.fstat(file.fileno())
        return MappedFile(_mapped(file.fileno(), found.st_size), _identity(found), path)


def _mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    if size == 0:
        return np.frombuffer(b"", np.uint8)
    if sys.platform == "win32":
        return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), np.uint8)
    return np.asarray(Pages(descriptor, size))
