"""The fast engine: gigatoken, where it gives the ids that tiktoken gives."""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.ragged import Ragged, offsets_of
from fastcollate.tokenizers.byte_pairs.ordinary import Reference
from fastcollate.tokenizers.tokenizer import is_panic

__all__ = ["Gigatoken", "doubtful", "gigatoken_loader"]

# Letters and marks that Unicode 17 added, one that it changed (U+0295), and rare ones near them: gigatoken knows
# them, tiktoken's tables are older. A sweep over all code points in a test finds some of these, and none outside.
_NEWER = (
    *((0x295, 0x295), (0x88F, 0x88F), (0xC5C, 0xC5C), (0xCDC, 0xCDC), (0x1ACF, 0x1AEB), (0xA7CE, 0xA7D5)),
    *((0xA7F1, 0xA7F1), (0x10000, 0x1CFFF), (0x1E000, 0x1EFFF), (0x2A6E0, 0x2A6FF), (0x2B73A, 0x2B73F)),
    *((0x2B81E, 0x2B81F), (0x2CEA2, 0x2CEAF), (0x2EBE1, 0x2F7FF), (0x2FA1E, 0xE001F), (0xE0080, 0xE00FF)),
    *((0xE0200, 0x10FFFF), (0xD800, 0xDFFF)),  # the last are half a character each, which gigatoken refuses
)
_FIRST_BYTES = 131_072  # encoded by tiktoken: loading gigatoken takes as long as that and more
# Its caches hold every distinct word, at about 10 bytes a byte, in tables that double: 31 MB of random words took
# 319 MB. A tokenizer is made anew (in 0.06 s) when its calls have taken this much, so that one more doubling stays
# below 150 MB; where a process cannot tell its memory, after as many bytes of text as would take it.
_MOST_GROWTH = 40_000_000
_MOST_BYTES = 8_000_000
_CHECKED = 1024  # one byte in so many is encoded by tiktoken too
# Many texts are one to gigatoken, with this control token, whose beginning is not its end, after each: a call for
# each text takes twice as long.
_END = "\0end"


def doubtful(texts: Sequence[str]) -> list[int]:
    """Return the numbers of the texts with a character that the two engines may take for different ones.

    These are the ones that Unicode got lately, any that this Python has no name for, the rare scripts beside
    them, and lone surrogates.

    >>> doubtful(["plain", "naïve 漢字 😀", "\U000332ee's"])
    [2]
    """
    others = [i for i, text in enumerate(texts) if not text.isascii()]
    if not others:
        return []
    data = [texts[i].encode("utf-8", "surrogatepass") for i in others]
    codes, places = _beyond_ascii(b"".join(data))
    odd = places[_table()[codes]]
    owners = np.searchsorted(np.cumsum(list(map(len, data))), odd, "right")
    return [others[i] for i in np.unique(owners).tolist()]


def _beyond_ascii(data: bytes) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points in UTF-8 that are not ASCII, of which most texts have few, and where each begins.

    >>> codes, places = _beyond_ascii("naïve 漢字 😀".encode())
    >>> [chr(code) for code in codes], places
    (['ï', '漢', '字', '😀'], array([ 2,  7, 10, 14]))
    """
    array = np.frombuffer(data + b"\0\0\0", np.uint8)
    places = np.flatnonzero(array >= 0xC0)
    first, second, third, fourth = (array[places + i].astype(np.uint32) for i in range(4))
    two = (first & 0x1F) << 6 | second & 0x3F
    three = (first & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F
    four = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F
    return np.where(first < 0xE0, two, np.where(first < 0xF0, three, four)), places


@cache
def _table() -> NDArray[np.bool_]:
    """Return whether each code point is a doubtful one."""
    table = np.zeros(0x110000, bool)
    for first, last in _NEWER:
        table[first : last + 1] = True
    table[[code for code in range(0x10000) if unicodedata.category(chr(code)) == "Cn"]] = True
    return table


def gigatoken_loader(ranks: Mapping[bytes, int], scheme: str) -> Callable[[], Any] | None:
    """Return what makes a new tokenizer of gigatoken; None if it is not installed, or does not take the ranks."""
    try:
        from gigatoken import Tokenizer  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in sorted(ranks.items(), key=_rank)]
    content = b"".join(lines)

    def load() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ranks.tiktoken")
            path.write_bytes(content)
            return Tokenizer.from_tiktoken(path, scheme, {_END: max(ranks.values()) + 1})

    return load


def _rank(item: tuple[bytes, int]) -> int:
    return item[1]


class Gigatoken:
    """`Gigatoken` encodes as its reference does, and faster.

    Measured on a core of a virtual machine, with gpt2 over 4 MB of instructions, where tiktoken does 12 MB/s:
    160 MB/s the first time, then 300. Random words, all distinct, are 15 MB/s. Long texts of one letter, of
    blanks, of random letters and of Chinese take a third to a tenth of tiktoken's time.

    Texts with a doubtful character go to the reference. Of the others a sample is encoded by both; where one
    differs, the reference alone is used from then on.

    Args:
        reference: What says which ids are right.
        load: What makes a new tokenizer.
    """

    def __init__(self, reference: Reference, load: Callable[[], Any]) -> None:
        self._reference = reference
        self._load = load
        self._tokenizer: Any = None
        self._usable = True
        self._bytes = 0  # encoded by this object
        self._growth = 0  # of memory, by the present tokenizer's calls
        self._credit = 4096  # bytes that may be encoded twice

    def encode_batch(self, texts: Sequence[str], end: int | None = None) -> Ragged:
        """Return the uint32 ids of many texts, as the reference has them; `end` as there."""
        joined = _END.join([*texts, ""])
        self._bytes += len(joined)
        if not texts or not self._usable or self._bytes <= _FIRST_BYTES:
            return self._reference.encode_batch(texts, end)
        odd = [] if joined.isascii() else doubtful(texts)
        if joined.count(_END[0]) > len(texts):
            odd = sorted({*odd, *(i for i, text in enumerate(texts) if _END in text)})
        plain = list(texts)
        for i in odd:
            plain[i] = ""
        self._credit += len(joined) // _CHECKED
        tokens = self._encode(_END.join([*plain, ""]) if odd else joined, end)
        if tokens is None or not self._agrees(plain, tokens, end):
            self._usable, self._tokenizer = False, None
            return self._reference.encode_batch(texts, end)
        return _spliced(tokens, odd, self._reference.encode_batch([texts[i] for i in odd])) if odd else tokens

    def _encode(self, joined: str, end: int | None) -> Ragged | None:
        """Return the ids of texts with `_END` after each, by gigatoken; None if it fails."""
        try:
            if self._tokenizer is None:
                self._tokenizer, self._growth = self._load(), 0
            before = _resident()
            found: NDArray[np.uint32] = self._tokenizer.encode(joined)
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            warnings.warn(f"gigatoken fails ({error}): tiktoken goes on alone, with the same ids", stacklevel=4)
            return None
        self._growth += max(_resident() - before - found.nbytes, 0) if before else _growth_of(joined)
        if self._growth > _MOST_GROWTH:
            self._tokenizer = None
        return _parted(found, end)

    def _agrees(self, texts: list[str], tokens: Ragged, end: int | None) -> bool:
        """Encode a few texts again, as many as the credit lasts for, and compare."""
        step = max(len(texts) // 4, 1)
        ending = [] if end is None else [end]
        for i in range(self._bytes % step, len(texts), step):
            if not texts[i] or len(texts[i]) > self._credit:
                continue
            self._credit -= len(texts[i])
            if tokens[i].tolist() != self._reference.encode(texts[i]) + ending:
                warnings.warn(
                    f"gigatoken encodes {texts[i]!r:.60} otherwise than tiktoken: tiktoken goes on alone",
                    stacklevel=4,
                )
                return False
        return True


def _parted(ids: NDArray[np.uint32], end: int | None) -> Ragged:
    """Return the rows of ids that end with `_END`; these have `end` in its stead, or nothing."""
    marks = np.flatnonzero(ids == ids[-1])
    offsets = np.zeros(len(marks) + 1, np.int64)
    if end is None:
        offsets[1:] = marks - np.arange(len(marks))
        return Ragged(np.delete(ids, marks), offsets)
    ids[marks] = end
    offsets[1:] = marks + 1
    return Ragged(ids, offsets)


def _spliced(tokens: Ragged, places: list[int], others: Ragged) -> Ragged:
    """Return the tokens with other rows before theirs at these places, which hold an end or nothing."""
    lengths = tokens.lengths
    lengths[places] += others.lengths
    at = np.repeat(tokens.offsets[places], others.lengths)
    return Ragged(np.insert(tokens.values, at, others.values), offsets_of(lengths))


def _growth_of(text: str) -> int:
    return len(text) * (_MOST_GROWTH // _MOST_BYTES)


def _resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    file = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        return int(os.read(file, 64).split()[1]) * PAGESIZE
    finally:
        os.close(file)
