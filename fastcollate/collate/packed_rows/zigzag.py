"""The share of one rank of context parallelism: two chunks of each document, an early one and a late one.

A document is cut into 2 * cp equal chunks, and rank `i` has chunks `i` and `2 * cp - 1 - i`: under causal
attention every rank then does the same work, as in the zig-zag ring attention of Zhu and in Megatron-Core.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from fastcollate.arguments import check_count
from fastcollate.collate.packed_rows.pack_layout import PackLayout
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray

__all__ = ["Chunked", "chunked_batches"]


class Chunked(NamedTuple):
    """How the cells of a batch can be split: stretches of a multiple of cells, documents and gaps in their order.

    Attributes:
        edges: The first cell of each stretch, and the number of all cells, int64[S+1].
        tokens: The cells of each stretch that hold tokens, which come first, int64[S].
        multiple_of: What the cells of each stretch are a multiple of.
    """

    edges: IntArray
    tokens: IntArray
    multiple_of: int

    def check(self, cp_rank: int, cp_size: int) -> tuple[int, int]:
        """Return both arguments as Python ints.

        Raises:
            CollateError: A rank outside the world, or documents that do not split in so many chunks.
        """
        size = check_count("cp_size", cp_size, 1, error=CollateError)
        rank = check_count("cp_rank", cp_rank, most=size - 1, error=CollateError)
        if self.multiple_of % (2 * size):
            raise CollateError(
                f"documents padded to multiple_of={self.multiple_of} do not split in {2 * size} chunks for "
                f"cp_size={size}: collate with multiple_of={2 * size}, or a multiple of it"
            )
        return rank, size

    def cells(self, rank: int, size: int, device: torch.device) -> torch.Tensor:
        """Return the cells of a rank in their order, int64[cells / size].

        Stretches of 8 and 4 cells for rank 0 of 2: chunks of 2 and of 1, [0 1 6 7  8 11].
        """
        edges = torch.from_numpy(self.edges).to(device, non_blocking=True)
        firsts = edges // size
        cell = torch.arange(int(self.edges[-1]) // size, device=device)
        owner = torch.searchsorted(firsts, cell, right=True) - 1
        within, chunk = cell - firsts[owner], (edges.diff() // (2 * size))[owner]
        late = (2 * size - 1 - 2 * rank) * chunk - chunk  # from a cell of the early chunk to the late one's
        return edges[owner] + rank * chunk + within + torch.where(within >= chunk, late, 0)

    def num_tokens(self, rank: int, size: int) -> int:
        """Return how many tokens a rank has."""
        chunk = np.diff(self.edges) // (2 * size)
        return sum(
            int((self.tokens - number * chunk).clip(0, chunk).sum()) for number in (rank, 2 * size - 1 - rank)
        )


def chunked_batches(layout: PackLayout, lengths: IntArray, multiple_of: int) -> list[Chunked | None]:
    """Return how each batch can be split; None where documents are not padded.

    Args:
        layout: Where the documents lie.
        lengths: The tokens of each document, int64[D].
        multiple_of: What the cells of each document are a multiple of.
    """
    if multiple_of == 1:
        return [None] * len(layout.rows)
    gaps = layout.gap_begins[layout.gap_begins < layout.gap_ends]
    begins, tokens = np.concatenate([layout.begins, gaps]), np.append(lengths, np.zeros_like(gaps))
    order = np.argsort(begins, kind="stable")
    begins, tokens = begins[order], tokens[order]
    cells = np.cumsum([0, *(rows * width for rows, width in zip(layout.rows, layout.columns, strict=True))])
    found, first = list[Chunked | None](), 0
    for begin, end in zip(cells[:-1].tolist(), cells[1:].tolist(), strict=True):
        last = int(np.searchsorted(begins, end))
        found.append(Chunked(np.append(begins[first:last], end) - begin, tokens[first:last], multiple_of))
        first = last
    return found
