"""The token files of OLMo, as dolma writes them: `.npy` without NumPy's header, and `.csv.gz`.

The tokens are bare, uint16 or uint32; the table beside has a line for each document, which begins with the place
of its first token and the place behind its last one. Files that do have NumPy's header, as build-nanogpt writes,
are read too: they are cut at the end token, which build-nanogpt puts before each document. Source:
python/dolma/tokenizer/memmap_writer.py of dolma.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.formats.columns.npy_arrays import Extent, npy_array
from fastcollate.corpus.mapped.end_cuts import cut_streams
from fastcollate.corpus.mapped.mapped_files import (
    broken,
    check_dtype,
    first_bytes,
    named_dtype,
    viewed,
    whole_file,
)
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, Piece, as_tokens
from fastcollate.corpus.mapped.series import check_series, files_at
from fastcollate.errors import InputError
from fastcollate.ragged import IntArray

__all__ = ["claims", "layout_of"]

_MAGIC = b"\x93NUMPY"
_WIDTHS = {2: "uint16", 4: "uint32"}


def claims(path: Path) -> bool:
    """Tell whether there are files named `.npy`."""
    return bool(files_at(path, ".npy"))


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return the documents of all files: by their tables, or cut at the end token where there is none.

    Raises:
        InputError: A file has no table and the end token is not named, or nothing says the dtype, or `dtype` is
            another one, or the folder has several series of files.
        StoreError: A file is not what was written.
    """
    files = files_at(path, ".npy")
    check_series(path, files)
    tables = [table if (table := file.with_suffix(".csv.gz")).is_file() else None for file in files]
    found = [table for table in tables if table is not None]
    if found and len(found) < len(files):
        lacking = files[tables.index(None)]
        raise broken(lacking, f"it has no {lacking.stem}.csv.gz beside it, and {found[0].name} is there")
    if found:
        pieces = [_by_table(file, table, dtype) for file, table in zip(files, found, strict=True)]
        return Layout("OLMo", [*files, *found], pieces, eot_token_id)
    streams = [(file, _stream(file, dtype)) for file in files]
    headed = first_bytes(files[0], len(_MAGIC)) == _MAGIC
    pieces = cut_streams(streams, eot_token_id, usually_first=headed)
    return Layout("NumPy" if headed else "OLMo", files, pieces, eot_token_id)


def _by_table(file: Path, table: Path, dtype: Any) -> Piece:
    starts, ends = _places(table)
    data = whole_file(file)
    if bytes(data[: len(_MAGIC)]) == _MAGIC:
        values = _with_header(file, data, dtype)
    else:
        values = as_tokens(viewed(file, data, _kind(file, len(data), int(ends.max(initial=0)), dtype)))
    return Piece(table, MappedRows(values, starts, ends - starts))


def _kind(file: Path, size: int, tokens: int, dtype: Any) -> Any:
    """Return the dtype: what the caller says, or the one by which the file ends where its last document does."""
    if dtype is not None:
        return named_dtype(dtype)
    for width, name in _WIDTHS.items():
        if tokens * width == size:
            return name
    raise broken(file, f"it has {size} bytes where its table ends at token {tokens}")


def _stream(file: Path, dtype: Any) -> NDArray[Any]:
    data = whole_file(file)
    if bytes(data[: len(_MAGIC)]) == _MAGIC:
        return _with_header(file, data, dtype)
    if dtype is None:
        raise InputError(
            f"{file} has neither a table of documents ({file.stem}.csv.gz) nor a header: name the dtype of its "
            "tokens as dtype=..."
        )
    return as_tokens(viewed(file, data, named_dtype(dtype)))


def _with_header(file: Path, data: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    """Return the values behind NumPy's header."""
    found = npy_array(file, file.name, data, Extent(0, len(data)))
    check_dtype(dtype, found.dtype, file)
    return as_tokens(viewed(file, data, found.dtype, at=found.start))


def _places(table: Path) -> tuple[IntArray, IntArray]:
    """Return the first two columns of a table without a header."""
    import pyarrow as pa  # noqa: PLC0415  # only for those who have such files
    from pyarrow import csv  # noqa: PLC0415

    options = {
        "read_options": csv.ReadOptions(autogenerate_column_names=True, block_size=1 << 22),
        "parse_options": csv.ParseOptions(newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            include_columns=["f0", "f1"], column_types={"f0": pa.int64(), "f1": pa.int64()}, null_values=[]
        ),
    }
    try:
        with pa.input_stream(str(table), compression="gzip") as plain, csv.open_csv(plain, **options) as rows:
            read = [(batch[0].to_numpy(), batch[1].to_numpy()) for batch in rows]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise broken(table, f"its lines cannot be read: {' '.join(str(error).split())[:120]}") from error
    return _joined([starts for starts, _ in read]), _joined([ends for _, ends in read])


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, np.int64), *parts])
