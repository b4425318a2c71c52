"""The members of a tar that is mapped: told from its headers alone, one after another, to its very end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_files import broken

__all__ = ["TarMember", "tar_members"]

_BLOCK = 512
_END = bytes(_BLOCK)
_FILE, _FOLDER, _LONG_NAME, _LONG_LINK, _EXTENDED, _GLOBAL = (b"0", b"\0", b"7"), b"5", b"L", b"K", b"x", b"g"


class TarMember(NamedTuple):
    """A file in a tar: its name, its first byte, and how many bytes it has."""

    name: str
    start: int
    size: int


def tar_members(file: Path, data: NDArray[np.uint8]) -> Iterator[TarMember]:
    """Yield the files in a tar (POSIX 1003.1, "pax Interchange Format", and GNU's long names).

    Args:
        file: The tar, for messages.
        data: Its bytes.

    Raises:
        StoreCorruptError: A header is damaged, the tar has no end or goes on behind it, or a member is a link or
            sparse.
    """
    whole, at, said = data.data, 0, dict[str, str]()
    while (head := bytes(whole[at : at + _BLOCK])) != _END:
        try:
            kind, size = head[156:157], _size(head, said)
        except ValueError as error:
            raise broken(file, f"behind byte {at} it has neither a member nor the end of a tar") from error
        start = at + _BLOCK
        at = start + -(-size // _BLOCK) * _BLOCK
        if at > len(data):
            raise broken(file, f"a member of {size} bytes from byte {start} on leaves the file")
        if kind in (_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK):
            said |= _said(file, kind, bytes(whole[start : start + size]))
            continue
        name = said.get("path") or _name(head)
        if kind not in (*_FILE, _FOLDER) or any(key.startswith("GNU.sparse") for key in said):
            raise broken(file, f"its member {name} is a link, sparse or no file")
        said = {}
        if kind != _FOLDER:
            yield TarMember(name, start, size)
    if bool(data[at:].any()):
        raise broken(file, f"behind byte {at} it has neither a member nor the end of a tar")


def _size(head: bytes, said: dict[str, str]) -> int:
    """Return the bytes of a member; a header whose checksum is another, or that is cut short, is a ValueError."""
    if len(head) < _BLOCK or int(head[148:156].strip(b" \0"), 8) != sum(head) - sum(head[148:156]) + 8 * ord(" "):
        raise ValueError
    if head[124] & 0x80:
        size = int.from_bytes(head[125:136], "big")
    else:
        size = int(head[124:136].strip(b" \0") or b"0", 8)
    size = int(said.get("size", size))
    if size < 0:
        raise ValueError
    return size


def _name(head: bytes) -> str:
    name, prefix = (
        part.partition(b"\0")[0].decode(errors="surrogateescape") for part in (head[:100], head[345:500])
    )
    return f"{prefix}/{name}" if prefix and head[257:263] == b"ustar\0" else name


def _said(file: Path, kind: bytes, data: bytes) -> dict[str, str]:
    """Return what a header says of the next member: `path` and `size`, where these do not fit into its own.

    Records are `13 path=a.npy` with a line feed, of as many bytes as they begin with.
    """
    if kind == _LONG_LINK:
        return {}
    if kind == _LONG_NAME:
        return {"path": data.partition(b"\0")[0].decode(errors="surrogateescape")}
    said = dict[str, str]()
    while data:
        length, blank, _ = data[:20].partition(b" ")
        count = int(length) if blank and length.isdigit() else 0
        key, equals, value = data[len(length) + 1 : count - 1].partition(b"=")
        if not equals or data[count - 1 : count] != b"\n":
            raise broken(file, "an extended header has no records")
        said[key.decode(errors="replace")] = value.decode(errors="surrogateescape")
        data = data[count:]
    if kind == _GLOBAL and said.keys() & {"path", "size"}:
        raise broken(file, "a global header names one member")
    return {} if kind == _GLOBAL else said
