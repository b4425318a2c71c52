"""What a file is, by its first bytes; its name says nothing."""

from __future__ import annotations

from io import BufferedReader
from typing import Literal, NamedTuple

__all__ = ["Beginning", "sniff"]

_BOM = b"\xef\xbb\xbf"


class Beginning(NamedTuple):
    """How a file begins.

    Attributes:
        kind: "lines" of JSON, an "array", or one "object" that is spread over several lines.
        head: The lines that were read to find out: blank ones, and the first that is not.
        start: The bytes before the first line, which are a byte order mark.
    """

    kind: Literal["lines", "array", "object"]
    head: list[bytes]
    start: int


def sniff(file: BufferedReader) -> Beginning:
    r"""Read a file up to its first line that is not blank, and return what the file is.

    >>> from io import BytesIO
    >>> sniff(BufferedReader(BytesIO(b'\xef\xbb\xbf \n[{"text": "a"}]')))
    Beginning(kind='array', head=[b' \n', b'[{"text": "a"}]'], start=3)
    """
    start = len(_BOM) if file.peek(len(_BOM)).startswith(_BOM) else 0
    file.read(start)
    head = []
    for line in file:
        head.append(line)
        if not line.isspace():
            break
    first = head[-1].strip() if head else b""
    if first.startswith(b"["):
        return Beginning("array", head, start)
    # A comma after a whole object is another mistake: lines that were taken from an array.
    if first.startswith(b"{") and first.endswith((b"{", b"[", b":", b",")) and not first.endswith(b"},"):
        return Beginning("object", head, start)
    return Beginning("lines", head, start)
