"""The published patterns that part a text before its bytes are merged, and what is known of each."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ANY_BYTES", "PATTERNS", "Known", "known_pattern"]

ANY_BYTES = r"(?s:.{1,64})"
"""Where every token is one byte, any split gives the same ones; this is tiktoken's fastest (130 kB in 3 ms)."""

# As tiktoken has them; gpt2, r50k_base, p50k_base and p50k_edit share one.
_R50K = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
_CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"""
    r"""|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
_O200K = (
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
PATTERNS = {
    "gpt2": _R50K,
    "r50k_base": _R50K,
    "p50k_base": _R50K,
    "p50k_edit": _R50K,
    "cl100k_base": _CL100K,
    "o200k_base": _O200K,
    "o200k_harmony": _O200K,
}

# What \s is in these patterns, which is less than in Python's; the line breaks among it are \r and \n.
_BLANKS = "\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


class Known(NamedTuple):
    r"""What is known of a pattern.

    Attributes:
        scheme: What gigatoken calls it.
        blanks: What finds the white space that its `\s+(?!\S)` may take.
        spoilers: What follows where another part of the pattern takes that white space; "" is the end of the text.
    """

    scheme: str
    blanks: re.Pattern[str]
    spoilers: tuple[str, ...]


_NO_BREAKS = re.compile(f"[{_BLANKS}]+")
_KNOWN = {
    _R50K: Known("gpt2", re.compile(f"[\r\n{_BLANKS}]+"), ()),
    # White space up to a line break is matched before, so that the rest follows the last one; at the end of a text
    # cl100k_base takes all white space in one.
    _CL100K: Known("gpt4", _NO_BREAKS, ("\r", "\n", "")),
    _O200K: Known("o200k", _NO_BREAKS, ("\r", "\n")),
}


def known_pattern(pattern: str) -> Known | None:
    r"""Return what is known of a pattern, which must be the same letter for letter; None is nothing.

    >>> known_pattern(PATTERNS["cl100k_base"]).scheme, known_pattern(r"\w+")
    ('gpt4', None)
    """
    return _KNOWN.get(pattern)
