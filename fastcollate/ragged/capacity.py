from __future__ import annotations

from typing import NamedTuple

__all__ = ["Capacity"]


class Capacity(NamedTuple):
    """`Capacity` is what a batch of a collator has room for, which the plan of its documents must keep to.

    Attributes:
        total: The cells of a batch; None where any number fits.
        documents: The documents of a batch at most; None where any number fits.
        multiple_of: The number that the cells of each document are rounded up to a multiple of.

    >>> Capacity(multiple_of=8)
    Capacity(total=None, documents=None, multiple_of=8)
    """

    total: int | None = None
    documents: int | None = None
    multiple_of: int = 1
