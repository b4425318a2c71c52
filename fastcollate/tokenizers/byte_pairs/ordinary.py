"""Texts to ids by tiktoken, in linear time and without its panics: the reference for every other way."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import tiktoken

from fastcollate.errors import EncodingError
from fastcollate.ragged import Ragged, offsets_of
from fastcollate.tokenizers.byte_pairs.patterns import Known
from fastcollate.tokenizers.tokenizer import is_panic, shared_beginning

__all__ = ["Reference"]

# tiktoken's regex engine keeps a place to return to for each character that `\s+(?!\S)` takes: at 1,000,000 its
# stack overflows, and the process panics.
_STRETCH = 65_536
_HEAD = 4096  # characters in which texts are looked at for what they share
_NONE = frozenset[str]()
_WORD_END = re.compile(r"[A-Za-z](?=[ .:,;!?\n])")


class Reference:
    """`Reference` encodes by a tiktoken encoding, and takes the texts apart that overflow its stack.

    Measured on a core of a virtual machine, with gpt2: 10^6 times one letter takes 0.5 s, as many random letters
    0.7 s, line breaks 0.25 s, digits 0.4 s, and 4 * 10^5 random Chinese characters 0.2 s: all linear, but for a
    logarithm.

    Args:
        encoding: The encoding.
        known: What is known of its pattern; None (nothing) leaves texts whole.
        stretch: The least white space that is taken out of a text and encoded on its own.
    """

    def __init__(self, encoding: tiktoken.Encoding, known: Known | None, stretch: int = _STRETCH) -> None:
        self._name = encoding.name
        self._whole = encoding.encode_ordinary
        self._piece = attrgetter("_encode_single_piece")(encoding)
        self._least = stretch
        self._known = known
        # Ids as bytes, without a Python integer for each, take six sevenths of the time. Where an encoding has no
        # special token, tiktoken would look for the empty one between the bytes of a letter.
        packed = attrgetter("_core_bpe")(encoding)
        self._packed = getattr(packed, "encode_to_tiktoken_buffer", None) if encoding.special_tokens_set else None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises:
            EncodingError: tiktoken cannot encode the text.
        """
        if self._known is not None and len(text) > self._least and _has_blanks(text, self._least // 2):
            return self._encode_apart(text, self._known)
        return self._encode_whole(text)

    def encode_batch(self, texts: Sequence[str], end: int | None = None) -> Ragged:
        """Return the uint32 ids of many texts, each with the token `end` after it; None (default) is without.

        Raises:
            EncodingError: tiktoken cannot encode a text; `document` is its number.
        """
        cut = self._shared(texts)
        head = array("I", self.encode(texts[0][:cut]) if cut else ())
        ending = array("I", () if end is None else (end,))
        rows = list[memoryview]()
        for text in texts:
            try:
                rows.append(memoryview(self._row(text[cut:])))
            except EncodingError as error:
                raise EncodingError(str(error), document=len(rows)) from None
        # Between two rows, before the first and after the last: the end of one and the head of the next.
        joined = bytearray(ending + head).join([b"", *rows, b""])
        stop = len(joined) // 4 - len(head) if rows else len(ending)
        lengths = np.array([row.nbytes // 4 for row in rows], np.int64) + (len(head) + len(ending))
        return Ragged(np.frombuffer(joined, np.uint32)[len(ending) : stop], offsets_of(lengths))

    def _row(self, text: str) -> Any:
        """Return the uint32 ids of a text, as an object that lends its bytes."""
        if self._packed is not None and len(text) <= self._least:
            try:
                return self._packed(text, _NONE)
            except BaseException as error:  # half a character, or a panic: the other way mends the one, and tells
                if not (isinstance(error, Exception) or is_panic(error)):
                    raise
        return array("I", self.encode(text))

    def _shared(self, texts: Sequence[str]) -> int:
        """Return how much all texts begin with that is encoded alone as in each of them, such as a system prompt.

        It ends with a letter before a blank or a mark that no known pattern puts into one piece with it.
        """
        if self._known is None or len(texts) < 2:
            return 0
        shared = shared_beginning(min(texts)[:_HEAD], max(texts)[:_HEAD])
        return max((found.end() for found in _WORD_END.finditer(shared)), default=0)

    def _encode_apart(self, text: str, known: Known) -> list[int]:
        r"""Encode a text that may hold long stretches of white space.

        The pattern takes a stretch but for its last character, if others follow it, in one piece; another piece
        begins with that character. No pattern looks back, and what comes before a stretch ends where it begins:
        so the three parts, each alone, are what they are in the text.
        """
        ids, begin = [], 0
        for found in known.blanks.finditer(text):
            follower = text[found.end() : found.end() + 1]
            if found.end() - found.start() < self._least or follower in known.spoilers:
                continue
            stop = found.end() - (found.end() < len(text))
            ids += self._encode_whole(text[begin : found.start()])
            ids += self._piece(text[found.start() : stop])
            begin = stop
        return ids + self._encode_whole(text[begin:])

    def _encode_whole(self, text: str) -> list[int]:
        try:
            return self._whole(text)
        except BaseException as error:
            if not is_panic(error):
                raise
            raise EncodingError(
                f'a text of {len(text):,} characters is too much for the pattern of encoding "{self._name}" '
                f"({' '.join(str(error).split())[:80]}): leave it out, or cut its long runs of white space"
            ) from None


def _has_blanks(text: str, size: int) -> bool:
    """Whether one of the consecutive parts of that size is white space alone: of twice as much, one is."""
    return any(text[i : i + size].isspace() for i in range(0, len(text), size))
