"""Samples side by side in a file, as in MDS shards and litData chunks: a table of places, then their columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_files import broken, viewed
from fastcollate.ragged import IntArray

__all__ = ["Places", "check_samples", "column_places", "numbers_at", "sample_edges"]


class Places(NamedTuple):
    """Where something lies in each sample of a file: its first byte, and its bytes: int64[N] both."""

    starts: IntArray
    sizes: IntArray


def sample_edges(file: Path, data: NDArray[np.uint8], samples: Any) -> IntArray:
    """Return where each sample of a file begins, and the last one ends: int64[N+1], in bytes.

    The file has the number of its samples, and then these places, all as uint32.

    Args:
        file: The file, for messages.
        data: Its bytes.
        samples: How many samples there are by the index.

    Raises:
        StoreCorruptError: The samples do not lie one after another, to the end of the file, or are not as many.
    """
    count = int(viewed(file, data, np.uint32, count=1)[0])
    if count != samples:
        raise broken(file, f"it has {count} samples where its index has {samples!r:.20}")
    edges = viewed(file, data, np.uint32, at=4, count=count + 1).astype(np.int64)
    if edges[0] < 8 + 4 * count or edges[-1] != len(data) or bool((edges[1:] < edges[:-1]).any()):
        raise broken(file, "its samples do not lie one after another, to its end")
    return edges


def column_places(
    file: Path, data: NDArray[np.uint8], edges: IntArray, fixed: Sequence[int | None]
) -> list[Places]:
    """Return where each column of each sample lies: the sizes of those without a fixed one come first.

    A sample of `a` of 8 bytes, and `b` of as many as it says: [size of b: uint32 | a: 8 bytes | b].

    Args:
        file: The file, for messages.
        data: Its bytes.
        edges: Where samples begin, and the last one ends: int64[N+1].
        fixed: The size of each column in bytes; None where each sample says it.

    Raises:
        StoreCorruptError: The columns of a sample are not as large as the sample.
    """
    told, ends = edges[:-1], edges[1:]
    at = told + 4 * sum(size is None for size in fixed)
    check_samples(file, at <= ends, "is shorter than the sizes of its columns")
    found = list[Places]()
    for size in fixed:
        if size is None:
            sizes, told = numbers_at(data, told, 4), told + 4
        else:
            sizes = np.full(len(at), size, np.int64)
        found.append(Places(at, sizes))
        at = at + sizes
    check_samples(file, at == ends, "has columns of other sizes than its own")
    return found


def numbers_at(data: NDArray[np.uint8], at: IntArray, width: int) -> IntArray:
    """Return the unsigned numbers of `width` bytes that begin at some bytes, aligned or not: int64[M].

    >>> numbers_at(np.array([9, 1, 2, 0], np.uint8), np.array([0, 2]), 2)
    array([265,   2])
    """
    numbers: NDArray[Any] = data[at[:, None] + np.arange(width)].view(f"<u{width}").ravel()
    return numbers.astype(np.int64)


def check_samples(file: Path, right: NDArray[np.bool_], why: str) -> None:
    """Make sure that something holds for every sample of a file.

    Raises:
        StoreCorruptError: It does not for one; its number is named.
    """
    if not right.all():
        raise broken(file, f"its sample {int(right.argmin())} {why}")
