from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.packed_rows.pack_layout import PackLayout
from fastcollate.ragged import Capacity, IntArray, Parcel, offsets_of

__all__ = ["boundary_counts", "cu_seqlens_of", "longest_documents"]


def boundary_counts(layout: PackLayout, capacity: Capacity) -> list[int]:
    """Return how many entries `cu_seqlens` has for each batch: one more than documents, or than there may be."""
    if capacity.documents is not None:
        return [capacity.documents + 1] * len(layout.rows)
    found: list[int] = (np.maximum(layout.counts, 1) + 1).tolist()  # a batch of fillers is one gap
    return found


def cu_seqlens_of(layout: PackLayout, lengths: IntArray, capacity: Capacity) -> dict[str, NDArray[np.int32]]:
    """Return where the documents of each flat batch begin, int32[...], by name; those of all batches side by side.

    `cu_seqlens` adds up the tokens of documents, and `cu_seqlens_padded`, where documents are padded, their cells.
    Where a batch has a fixed number of entries the end of its last document is repeated.

    Args:
        layout: Where the documents lie.
        lengths: The tokens of each document, int64[D].
        capacity: What a batch has room for.
    """
    found = {"cu_seqlens": _added_up(layout, lengths, capacity)}
    if capacity.multiple_of > 1:
        found["cu_seqlens_padded"] = _added_up(
            layout, lengths if layout.padded is None else layout.padded, capacity
        )
    return found


def longest_documents(parcel: Parcel, layout: PackLayout, capacity: Capacity) -> list[int]:
    """Return the most cells that a document of each batch has, or may have where all batches have one shape."""
    if capacity.total is not None:
        width = capacity.total if parcel.packs is None or parcel.widths is None else parcel.packs.width
        return [width] * len(layout.rows)
    lengths = parcel.tokens.lengths if layout.padded is None else layout.padded
    longest = np.maximum.reduceat(np.append(lengths, 1), layout.edges[:-1])
    found: list[int] = np.where(layout.counts, longest, capacity.multiple_of).tolist()
    return found


def _added_up(layout: PackLayout, lengths: IntArray, capacity: Capacity) -> NDArray[np.int32]:
    """Documents of 3, 2 and 1 in one batch that has room for 4: [0 3 5 6 6]."""
    firsts = offsets_of(np.array(boundary_counts(layout, capacity)))
    before, edges = offsets_of(lengths), layout.edges
    ends = before[edges[1:]] - before[edges[:-1]]
    if capacity.documents is None:
        ends = np.where(layout.counts, ends, layout.columns)
    found: NDArray[np.int32] = ends.repeat(np.diff(firsts)).astype(np.int32)
    found[firsts[:-1]] = 0
    owner = np.arange(len(layout.counts)).repeat(layout.counts)
    found[firsts[owner] + 1 + np.arange(len(lengths)) - edges[owner]] = before[1:] - before[edges[owner]]
    return found
