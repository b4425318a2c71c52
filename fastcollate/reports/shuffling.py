"""How records are shuffled, in words."""

from __future__ import annotations

__all__ = ["in_words"]


def in_words(shuffle_block: int) -> str:
    """Return how a corpus is shuffled in blocks of so many records.

    >>> in_words(1), in_words(256)
    ('every record alone', 'blocks of 256 records')
    """
    return "every record alone" if shuffle_block == 1 else f"blocks of {shuffle_block:,} records"
