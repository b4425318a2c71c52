from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.collate.kernels import Stretches
from fastcollate.collate.packed_rows.pack_layout import PackLayout
from fastcollate.ragged import IntArray, Scattered

__all__ = ["describe_cells", "place_tokens"]


def describe_cells(arrays: Mapping[str, IntArray], layout: PackLayout, gaps: Stretches) -> None:
    """Write the position of each cell in its document, and what else is known of it.

    Args:
        arrays: The arrays to fill, int64[cells] each: `position_ids`, and where they are wanted `document_ids`
            and `attention_mask`.
        layout: Where the documents lie.
        gaps: The cells without a token.
    """
    owner = layout.spread(layout.begins)
    np.copyto(arrays["position_ids"], np.subtract(_counted(layout.cells, owner.dtype), owner, out=owner))
    gaps.fill(arrays["position_ids"], 0)
    if "document_ids" in arrays:
        np.copyto(arrays["document_ids"], layout.spread(layout.numbers))
        gaps.fill(arrays["document_ids"], -1)
    if "attention_mask" in arrays:
        arrays["attention_mask"].fill(1)
        gaps.fill(arrays["attention_mask"], 0)


def place_tokens(rows: Scattered, layout: PackLayout, out: IntArray, fill: int, gaps: Stretches) -> NDArray[Any]:
    """Write the values of all documents into their cells of `out: int64[cells]`, and `fill` into the gaps.

    The same cells in the dtype of the rows are returned, with anything in the gaps.
    """
    values = rows.laid_out(layout.begins, layout.cells)
    np.copyto(out, values)
    gaps.fill(out, fill)
    return values


def _counted(cells: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers of the cells, as far as they fit the dtype: kept, for they are the same for every parcel."""
    return _numbers(1 << (cells - 1).bit_length(), dtype)[:cells]


@lru_cache(maxsize=4)
def _numbers(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.arange(count).astype(dtype)
