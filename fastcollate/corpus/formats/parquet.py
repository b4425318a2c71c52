"""Parquet with `input_ids`, which cannot be mapped: the tokens are read into memory, as narrow as they are.

A token takes two bytes where the file's statistics say that all ids are below 65,536, else four, and a label
four more; a million tokens are decoded at a time, whatever the size of row groups (measured: 248 MiB, with the
libraries, for 114 MiB of tokens). More than 8 GiB are refused: a store of the same records is mapped. Processes
that are forked share what was read, others read it anew. `labels` go with the tokens, and where `attention_mask`
is 0 at an end of a row is padding, which is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.formats.columns.list_columns import Lists, token_lists
from fastcollate.corpus.formats.columns.token_columns import TokenColumns, token_columns
from fastcollate.corpus.mapped.mapped_files import broken, check_dtype, first_bytes
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, Piece
from fastcollate.corpus.mapped.series import natural
from fastcollate.errors import LimitError, StoreError
from fastcollate.ragged import IntArray, offsets_of, rows_between

__all__ = ["claims", "layout_of"]

_MOST_BYTES = 8 << 30  # of tokens and labels, in memory
_AT_ONCE, _READ_AT_ONCE = 1 << 20, 1 << 20  # tokens that are decoded, and bytes of a column that are read
_SHARD = re.compile(r"(.+)-\d+-of-\d+\.parquet")


class _Plan(NamedTuple):
    """What the footer of a file says: the columns, and of each but the mask the dtype in memory."""

    file: Path
    names: TokenColumns
    dtypes: list[np.dtype[Any]]
    values: int
    rows: int


def claims(path: Path) -> bool:
    """Tell whether a path is a Parquet file, or a folder that has some."""
    files = _files(path)
    return bool(files) and first_bytes(files[0], 4) == b"PAR1"


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Read the rows of one file, or of all those of a folder.

    Raises:
        StoreError: A file is damaged, has no such columns, or the folder has several splits.
        LimitError: The tokens take more memory than they may.
        InputError: `dtype` is another than the files have.
    """
    files = _files(path)
    splits = {named[1] for file in files if (named := _SHARD.fullmatch(file.name))}
    if len(splits) > 1:
        raise StoreError(f"{path} has the splits {', '.join(sorted(splits))}: put the files of each into a folder")
    plans = [_planned(file, dtype) for file in files]
    size = sum(plan.values * sum(kind.itemsize for kind in plan.dtypes) for plan in plans)
    if size > _MOST_BYTES:
        raise LimitError(
            f"{path} has tokens of {size / 2**30:.1f} GiB, and Parquet is no format to map: at most "
            f"{_MOST_BYTES >> 30} GiB are read into memory; make a store of it with `fastcollate prepare`"
        )
    pieces = [_read(plan) for plan in plans]
    return Layout("Parquet", files, [piece for piece in pieces if len(piece.tokens.lengths)], eot_token_id)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return natural(file for file in path.iterdir() if file.suffix == ".parquet")
    return [path] if path.is_file() else []


def _planned(file: Path, dtype: Any) -> _Plan:
    with _opened(file) as table:
        names = token_columns(file, table.schema_arrow.names, has_mask=True)
        if dtype is not None and hasattr(kind := table.schema_arrow.field(names.tokens).type, "value_type"):
            check_dtype(dtype, str(kind.value_type), file)
        groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
        leaves = [
            table.metadata.schema.column(i).path.partition(".")[0] for i in range(len(table.metadata.schema))
        ]
        parts = {
            name: [group.column(leaves.index(name)) for group in groups] for name in names if name is not None
        }
        dtypes = [np.dtype(np.uint16 if _highest(parts[names.tokens]) < 2**16 else np.uint32)]
        if names.labels is not None:
            dtypes.append(np.dtype(np.int32 if _highest(parts[names.labels]) < 2**31 else np.int64))
        values = sum(part.num_values for part in parts[names.tokens])
        return _Plan(file, names, dtypes, values, table.metadata.num_rows)


def _highest(parts: list[Any]) -> int:
    """Return the highest value by the statistics of the parts of a column; 2**32 where one has none."""
    told = [part.statistics if part.is_stats_set else None for part in parts]
    highest = [int(each.max) if each is not None and each.has_min_max else 2**32 for each in told]
    return max(highest, default=0)


def _read(plan: _Plan) -> Piece:
    file, names, dtypes, values, rows = plan
    tokens, *labels = (np.empty(values, kind) for kind in dtypes)
    lengths = [np.empty(0, np.int64)]
    count = first = 0
    with _opened(file) as table:
        wanted = [name for name in names if name is not None]
        size = max(1, _AT_ONCE * max(rows, 1) // max(values, 1))
        for batch in table.iter_batches(batch_size=size, columns=wanted):
            found = token_lists(file, batch, names, first)
            places = rows_between(found.tokens.offsets[:-1] + found.heads, found.kept)
            end = count + len(places)
            for lists, out, name in zip((found.tokens, found.labels), (tokens, *labels), wanted, strict=False):
                if lists is not None:
                    out[count:end] = _narrow(file, name, lists, places, out.dtype)
            count, first = end, first + batch.num_rows
            lengths.append(found.kept)
    counts = np.concatenate(lengths)
    starts = offsets_of(counts)[:-1]
    return Piece(file, *(MappedRows(part[:count], starts, counts) for part in (tokens, *labels)))


def _narrow(file: Path, name: str, lists: Lists, places: IntArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    values: NDArray[Any] = lists.values.to_numpy()[places]
    limits = np.iinfo(dtype)
    if len(values) and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
        raise broken(file, f"{name} has values from {values.min()} to {values.max()}, which {dtype} does not hold")
    return values


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Lend a Parquet file, and turn what pyarrow raises for one that it cannot read into our own error."""
    import pyarrow as pa  # noqa: PLC0415  # only for those who need it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=_READ_AT_ONCE) as table:
            yield table
    except (pa.ArrowException, OSError, NotImplementedError, ValueError, KeyError) as error:
        raise broken(file, " ".join(str(error).split())[:200]) from error
