"""Columns of lists in Arrow's memory, as Arrow files and Parquet both give them: checked, and as flat arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastcollate.corpus.formats.columns.token_columns import TokenColumns, unpadded
from fastcollate.corpus.mapped.mapped_files import broken
from fastcollate.errors import StoreError
from fastcollate.ragged import IntArray, offsets_of

__all__ = ["Lists", "TokenLists", "token_lists"]


class Lists(NamedTuple):
    """The lists of a column: list `i` is `values[offsets[i]:offsets[i + 1]]`, `values` an array of pyarrow's."""

    values: Any
    offsets: IntArray


class TokenLists(NamedTuple):
    """The rows of a record batch: their tokens and labels with any padding, and what is left of each without it.

    Attributes:
        tokens: The token ids.
        labels: One label for each token; None where there are none.
        heads: How much padding is before the tokens of each row, int64[N].
        kept: How many tokens each row has, int64[N].
    """

    tokens: Lists
    labels: Lists | None
    heads: IntArray
    kept: IntArray


def token_lists(file: Path, batch: Any, names: TokenColumns, first: int) -> TokenLists:
    """Return the rows of a record batch.

    Args:
        file: The file, for messages.
        batch: The record batch, of pyarrow's.
        names: The columns that are read.
        first: The number of its first row in the file, for messages.

    Raises:
        StoreError: A column is no lists of integers, or has nulls, or a row has other labels than tokens, or
            padding between two tokens.
    """
    tokens = _lists(file, batch, names.tokens, first)
    lengths = np.diff(tokens.offsets)
    others = [name for name in (names.labels, names.mask) if name is not None]
    found = {name: _lists(file, batch, name, first) for name in others}
    for name, lists in found.items():
        if (odd := np.flatnonzero(np.diff(lists.offsets) != lengths)).size:
            row = int(odd[0])
            count = int(lists.offsets[row + 1] - lists.offsets[row])
            raise broken(
                file, f"row {first + row} has {count} {name} for {lengths[row]} tokens: it needs one for each"
            )
    heads, kept = np.zeros(len(lengths), np.int64), lengths
    if names.mask is not None:
        mask = found[names.mask].values.to_numpy(zero_copy_only=False)
        heads, kept = unpadded(file, mask, lengths, first)
    return TokenLists(tokens, None if names.labels is None else found[names.labels], heads, kept)


def _lists(file: Path, batch: Any, name: str, first: int) -> Lists:
    import pyarrow as pa  # noqa: PLC0415  # only for those who need it

    column = batch.column(batch.schema.get_field_index(name))
    kind = column.type
    column.validate()
    if pa.types.is_fixed_size_list(kind):
        offsets = offsets_of(np.full(len(column), kind.list_size)) + column.offset * kind.list_size
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = column.offsets.to_numpy().astype(np.int64)
    else:
        raise StoreError(f"{file} has its {name} as {kind}: they must be lists of integers")
    if not (pa.types.is_integer(kind.value_type) or pa.types.is_boolean(kind.value_type)):
        raise StoreError(f"{file} has its {name} as {kind}: they must be lists of integers")
    if offsets[0] < 0 or offsets[-1] > len(column.values) or bool((offsets[1:] < offsets[:-1]).any()):
        raise broken(file, f"lists of {name} leave their values")
    values = column.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    if column.null_count or values.null_count:
        null = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
        where = f"row {first + int(null[0])} is one" if len(null) else f"a row from row {first} on has one"
        raise StoreError(f"{file} has nulls in {name} ({where}): write the file without them")
    return Lists(values, offsets - offsets[0])
