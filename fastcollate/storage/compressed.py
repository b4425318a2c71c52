"""Streams of bytes with a look ahead, decompressed where they are compressed, whatever the file's name."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from io import RawIOBase
from typing import Any, Protocol

from fastcollate.errors import InputError, LimitError

__all__ = ["ByteStream", "decompressed"]

_BLOCK_BYTES = 1 << 18
_FREE_BYTES = 1 << 28  # what may come out of any stream, however small
_MOST_TIMES = 1000  # after that: text of machines reaches a few hundred, gzip's most is 1,032
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class ByteStream:
    """Bytes that are read once, with a look ahead.

    Args:
        read: The function that returns up to so many bytes, and none at the end only.

    >>> from io import BytesIO
    >>> stream = ByteStream(BytesIO(b"abcdef").read)
    >>> stream.peek(2), stream.read(4), stream.read(4), stream.offset
    (b'ab', b'ab', b'cdef', 6)
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._ahead = b""
        self.offset = 0
        """How many bytes were read, without those that were only looked at."""

    def peek(self, size: int) -> bytes:
        """Return the next bytes and leave them: `size` of them, or all that are left."""
        while len(self._ahead) < size and (block := self._read(size - len(self._ahead))):
            self._ahead += block
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, and none at the end only."""
        block = self._ahead[:size] or self._read(size)
        self._ahead = self._ahead[size:]
        self.offset += len(block)
        return block

    def as_file(self) -> RawIOBase:
        """Return the stream as a file object that is read only, for those who want one."""
        return _File(self)


def decompressed(stream: ByteStream, name: str) -> tuple[ByteStream, str | None]:
    """Return the stream of what a stream holds compressed, and the kind of compression, which its bytes tell.

    gzip, bzip2, xz and zstd are read, each with several members one after another. A stream that is no such one
    is returned as it is.

    Args:
        stream: The bytes of the file.
        name: What messages call the file.

    Raises:
        InputError: While it is read: the data is damaged or cut short (`damaged`).
        LimitError: While it is read: more than 256 MiB come out, and more than 1,000 times what went in.

    >>> import gzip
    >>> from io import BytesIO
    >>> stream, kind = decompressed(ByteStream(BytesIO(gzip.compress(b"abc")).read), "data.jsonl")
    >>> stream.read(8), kind
    (b'abc', 'gzip')
    """
    kind = _kind(stream)
    if kind is None:
        return stream, None
    inner = _Zstd(stream) if kind == "zstd" else _Members(stream, kind)
    return ByteStream(_Checked(inner, stream, name, kind).read), kind


def _kind(stream: ByteStream) -> str | None:
    head = stream.peek(10)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if kind == "bzip2" and head[4:10] not in (b"1AY&SY", b"\x17rE8P\x90"):
        return None  # a text that begins with BZh
    return kind


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Checked:
    """What is read from a decompressor, with its failures in our own words and its output limited."""

    def __init__(self, inner: _Readable, stream: ByteStream, name: str, kind: str) -> None:
        self._inner, self._stream, self._name, self._kind = inner, stream, name, kind
        self._size = 0

    def read(self, size: int) -> bytes:
        try:
            block = self._inner.read(size)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            at = self._stream.offset
            cut = isinstance(error, EOFError) or "runcated" in str(error)
            what = f"is cut short at byte {at}" if cut else f"is damaged before byte {at} ({error})"
            message = f"{self._name}: the {self._kind} data {what}: copy or download the file again"
            raise InputError(message, path=self._name, reason="damaged") from error
        self._size += len(block)
        if self._size > max(_FREE_BYTES, _MOST_TIMES * self._stream.offset):
            raise LimitError(
                f"{self._name}: more than {self._size >> 20} MiB come out of {self._stream.offset} bytes of "
                f"{self._kind} data, over {_MOST_TIMES} times as much: text is never so regular; if it is meant, "
                "decompress the file first"
            )
        return block


class _Members:
    """Compressed streams one after another, as `cat a.gz b.gz` joins them."""

    def __init__(self, stream: ByteStream, kind: str) -> None:
        self._stream, self._kind = stream, kind
        self._left = b""  # read from the stream, and not used yet
        self._member: Any = None

    def read(self, size: int) -> bytes:
        while self._member is not None or self._begin():
            if self._member.needs_input and not self._left:
                self._left = self._stream.read(_BLOCK_BYTES)
                if not self._left:
                    raise EOFError
            block: bytes = self._member.decompress(self._left, size)
            self._left = b""
            if self._member.eof:
                self._left, self._member = self._member.unused_data, None
            if block:
                return block
        return b""

    def _begin(self) -> bool:
        """Begin the next member, if there is one: zeros may pad the file's end."""
        self._left = self._left.lstrip(b"\0") or self._stream.read(_BLOCK_BYTES)
        while self._left and not self._left.strip(b"\0"):
            self._left = self._stream.read(_BLOCK_BYTES)
        if self._left:
            self._member = {"gzip": _Gzip, "bzip2": bz2.BZ2Decompressor, "xz": lzma.LZMADecompressor}[self._kind]()
        return bool(self._left)


class _Gzip:
    """One gzip member, with the attributes of the other decompressors."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, size: int) -> bytes:
        block = self._inner.decompress(self._inner.unconsumed_tail + data, size)
        self.needs_input = len(block) < size and not self._inner.unconsumed_tail
        return block


class _Zstd:
    """zstd frames one after another, by pyarrow's codec: Python has one of its own from 3.14 on."""

    def __init__(self, stream: ByteStream) -> None:
        import pyarrow as pa  # noqa: PLC0415  # only for those who need it

        self._inner = pa.CompressedInputStream(pa.PythonFile(stream.as_file(), mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        block: bytes = self._inner.read(size)
        return block


class _File(RawIOBase):
    """A stream as a file object."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, and fewer at the end only: Arrow takes fewer for a file that is cut short."""
        if size < 0:
            return self._stream.read(_BLOCK_BYTES)
        blocks = list[bytes]()
        while size and (block := self._stream.read(size)):
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)
