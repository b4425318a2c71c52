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
_BATCHED_BYTES = 100_663_296  # encoded text by text: batches come as arrays of awkward, whose import takes 0.3 s
# Its caches hold every distinct word, at about 10 bytes a byte, in tables that double: 31 MB of random words took
# 319 MB. A tokenizer is made anew (in 0.06 s) when its calls have taken this much, so that one more doubling stays
# below 150 MB; where a process cannot tell its memory, after as many bytes of text as would take it.
_MOST_GROWTH = 40_000_000
_MOST_BYTES = 8_000_000
_CHECKED = 1024  # one byte in so many is encoded by tiktoken too


def doubtful(texts: Sequence[str]) -> list[int]:
    """Return the numbers of the texts with a character that the two engines may take for different ones.

    These are the ones that Unicode got lately, any that this Python has no name for, the rare scripts beside
    them, and lone surrogates.

    >>> doubtful(["plain", "naïve 漢字 😀", "\U000332ee's"])
    [2]
    """
    others = [i for i, text in enumerate(texts) if not text.isascii()]
    if not others or not _doubts("".join([texts[i] for i in others])):
        return []
    return [i for i in others if _doubts(texts[i])]


def _doubts(text: str) -> bool:
    return bool(_table()[_beyond_ascii(text)].any())


def _beyond_ascii(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text's characters that are not ASCII, read off its UTF-8: most texts have few.

    >>> [chr(code) for code in _beyond_ascii("naïve 漢字 😀")]
    ['ï', '漢', '字', '😀']
    """
    data = np.frombuffer(text.encode("utf-8", "surrogatepass") + b"\0\0\0", np.uint8)
    at = np.flatnonzero(data >= 0xC0)  # where such a character begins
    first, second, third, fourth = (data[at + i].astype(np.uint32) for i in range(4))
    two = (first & 0x1F) << 6 | second & 0x3F
    three = (first & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F
    four = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F
    return np.where(first < 0xE0, two, np.where(first < 0xF0, three, four))


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
            return Tokenizer.from_tiktoken(path, scheme, {})

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

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, as the reference has them."""
        size = sum(map(len, texts))
        self._bytes += size
        if not self._usable or self._bytes <= _FIRST_BYTES:
            return self._reference.encode_batch(texts)
        odd = doubtful(texts)
        plain = list(texts)
        for i in odd:
            plain[i] = ""
        self._credit += size // _CHECKED
        tokens = self._encode(plain)
        if tokens is None or not self._agrees(plain, tokens):
            self._usable, self._tokenizer = False, None
            return self._reference.encode_batch(texts)
        return _spliced(tokens, odd, self._reference.encode_batch([texts[i] for i in odd])) if odd else tokens

    def _encode(self, texts: list[str]) -> Ragged | None:
        """Return the ids by gigatoken; None if it fails."""
        try:
            if self._tokenizer is None:
                self._tokenizer, self._growth = self._load(), 0
            before = _resident()
            if self._bytes < _BATCHED_BYTES:
                rows = [self._tokenizer.encode(text) for text in texts]
                values = np.concatenate([np.zeros(0, np.uint32), *rows])
                tokens = Ragged(values, offsets_of([len(row) for row in rows]))
            else:
                layout = self._tokenizer.encode_batch(texts, parallel=False).layout
                tokens = Ragged(np.asarray(layout.content.data), np.asarray(layout.offsets.data))
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            warnings.warn(f"gigatoken fails ({error}): tiktoken goes on alone, with the same ids", stacklevel=4)
            return None
        self._growth += max(_resident() - before - tokens.values.nbytes, 0) if before else _growth_of(texts)
        if self._growth > _MOST_GROWTH:
            self._tokenizer = None
        return tokens

    def _agrees(self, texts: list[str], tokens: Ragged) -> bool:
        """Encode a few texts again, as many as the credit lasts for, and compare."""
        step = max(len(texts) // 4, 1)
        for i in range(self._bytes % step, len(texts), step):
            if not texts[i] or len(texts[i]) > self._credit:
                continue
            self._credit -= len(texts[i])
            if tokens[i].tolist() != self._reference.encode(texts[i]):
                warnings.warn(
                    f"gigatoken encodes {texts[i]!r:.60} otherwise than tiktoken: tiktoken goes on alone",
                    stacklevel=4,
                )
                return False
        return True


def _spliced(tokens: Ragged, places: list[int], others: Ragged) -> Ragged:
    """Return the tokens with other rows where theirs, at these places, are empty."""
    lengths = tokens.lengths
    lengths[places] = others.lengths
    at = np.repeat(tokens.offsets[places], others.lengths)
    return Ragged(np.insert(tokens.values, at, others.values), offsets_of(lengths))


def _growth_of(texts: list[str]) -> int:
    return sum(map(len, texts)) * (_MOST_GROWTH // _MOST_BYTES)


def _resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    file = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        return int(os.read(file, 64).split()[1]) * PAGESIZE
    finally:
        os.close(file)
