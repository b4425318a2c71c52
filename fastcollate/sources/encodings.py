"""The encodings of text: UTF-8, with a byte order mark or without, and UTF-16 with one."""

from __future__ import annotations

import codecs

from fastcollate.errors import InputError
from fastcollate.storage.compressed import ByteStream

__all__ = ["as_utf8"]

_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_MOSTLY = 0.4  # of every second byte, in UTF-16 that holds mostly Latin letters


def as_utf8(stream: ByteStream, name: str) -> tuple[ByteStream, bool]:
    r"""Return a stream of the same text as UTF-8 without a byte order mark, and whether the bytes are the same.

    That the bytes of a stream which is not UTF-16 are UTF-8 is for its reader to check.

    Raises:
        InputError: The text is UTF-32, or UTF-16 without a byte order mark (`not_utf8`).

    >>> from io import BytesIO
    >>> as_utf8(ByteStream(BytesIO("é".encode("utf-16")).read), "data.jsonl")[0].read(8)
    b'\xc3\xa9'
    """
    head = stream.peek(4096)
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        return stream, True
    wide = next((kind for mark, kind in _WIDE.items() if head.startswith(mark)), None)
    if wide is None and (guess := _without_mark(head)):
        raise InputError(
            f"{name}: not UTF-8 at byte {head.find(0)} of the file: it looks like {guess.upper()} without a byte "
            f"order mark: save it as UTF-8, for example by iconv -f {guess.upper()} -t UTF-8",
            path=name,
            reason="not_utf8",
        )
    if wide == "UTF-32":
        message = f"{name}: not UTF-8 at byte 0 of the file: it is UTF-32: save it as UTF-8"
        raise InputError(message, path=name, reason="not_utf8")
    if wide is None:
        return stream, True
    stream.read(len(codecs.BOM_UTF16_LE))
    return ByteStream(_Narrowed(stream, name, wide).read), False


def _without_mark(head: bytes) -> str | None:
    """Which UTF-16 the head of a file looks like: zeros are no text in UTF-8 files, but for a few."""
    if len(head) < 4:
        return None
    even, odd = head[::2].count(0) / len(head[::2]), head[1::2].count(0) / len(head[1::2])
    if max(even, odd) < _MOSTLY or min(even, odd) > _MOSTLY:
        return None
    return "utf-16le" if odd > even else "utf-16be"


class _Narrowed:
    """UTF-16 as UTF-8, block by block."""

    def __init__(self, stream: ByteStream, name: str, encoding: str) -> None:
        self._stream, self._name = stream, name
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def read(self, size: int) -> bytes:
        while True:
            held = len(self._decoder.getstate()[0])
            at = self._stream.offset - held
            block = self._stream.read(max(size // 3, 1))
            try:
                text = self._decoder.decode(block, final=not block).encode()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self._name}: not UTF-16 at byte {at + error.start} of the file ({error.reason}): "
                    "save it as UTF-8",
                    path=self._name,
                    reason="not_utf8",
                ) from error
            if text or not block:
                return text
