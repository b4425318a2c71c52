"""What a listing knows of a file or an object."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Entry"]


class Entry(NamedTuple):
    """What is known of a file or an object without reading it.

    Attributes:
        size: The number of its bytes.
        version: What changes when the content does: of an object its ETag, of a file its time.
    """

    size: int
    version: str
