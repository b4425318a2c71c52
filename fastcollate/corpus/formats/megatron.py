r"""Megatron's indexed data sets: tokens in `.bin`, and in `.idx` where each sequence lies.

The index, little-endian: `MMIDIDX\0\0`, the version (uint64, 1), the code of the dtype (uint8), the number of
sequences (uint64), the number of document borders (uint64), then of each sequence its length (int32) and its place
in the `.bin` in bytes (int64), the borders of documents as numbers of sequences (int64), and for multimodal data a
mode of each sequence (int8). Source: megatron/core/datasets/indexed_dataset.py of Megatron-LM.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.mapped_files import broken, check_dtype, viewed, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, Piece, as_tokens
from fastcollate.corpus.mapped.series import check_series, files_at
from fastcollate.errors import StoreError, StoreVersionError

__all__ = ["claims", "layout_of"]

MAGIC = b"MMIDIDX\0\0"
HEADER = struct.Struct("<9sQBQQ")
CODES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float64", 7: "float32", 8: "uint16"}


def claims(path: Path) -> bool:
    """Tell whether there is an index at `path`: one of the two files, their common name, a folder or a pattern."""
    return bool(_indexes(path))


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return where the sequences lie: each is a record, as the pointers of the index say.

    Megatron's own readers learn from documents as sequences in a row; a file that was not split into sentences, as
    is usual, has one sequence to a document, and then the two are the same.

    Raises:
        StoreError: The files are not what was written, of another version, or hold no integers.
        InputError: `dtype` is another one than the files have, or the folder has several series of files.
    """
    indexes = _indexes(path)
    check_series(path, indexes)
    pieces, documents = zip(*(_piece(index, dtype) for index in indexes), strict=True)
    files = [file for index in indexes for file in (index, index.with_suffix(".bin"))]
    return Layout("Megatron", files, pieces, eot_token_id, noted={"documents": sum(documents)})


def _indexes(path: Path) -> list[Path]:
    """Return the indexes that a path stands for; a `.bin` without one is another format's."""
    if path.is_file():
        pairs = [path] if path.suffix in {".bin", ".idx"} else []
    else:
        pairs = files_at(path, ".idx") or files_at(path, ".bin")
        pairs = [file for file in pairs if file.with_suffix(".bin").is_file()]
    if not pairs and path.name:
        pairs = [path.with_name(f"{path.name}.idx")]
    return [index for file in pairs if (index := file.with_suffix(".idx")).is_file()]


def _piece(index: Path, dtype: Any) -> tuple[Piece, int]:
    """Return the sequences of one pair, and the number of its documents."""
    data = whole_file(index)
    kind, sequences, borders = _header(index, data)
    check_dtype(dtype, kind, index)
    lengths = viewed(index, data, np.int32, at=HEADER.size, count=sequences)
    places = viewed(index, data, np.int64, at=HEADER.size + lengths.nbytes, count=sequences)
    behind = HEADER.size + lengths.nbytes + places.nbytes
    viewed(index, data, np.int64, at=behind, count=borders)
    rest = len(data) - behind - 8 * borders
    if rest not in {0, sequences}:
        raise broken(
            index, f"{rest} bytes follow the borders of documents, where at most a mode for each sequence does"
        )
    tokens = index.with_suffix(".bin")
    values = viewed(tokens, whole_file(tokens), kind)
    rows = MappedRows(as_tokens(values), places, lengths, values.itemsize)
    return Piece(index, rows), max(0, borders - 1)


def _header(index: Path, data: NDArray[np.uint8]) -> tuple[str, int, int]:
    """Return the dtype of the tokens, the number of sequences, and that of the borders of documents."""
    if len(data) < HEADER.size:
        raise broken(index, f"it ends after {len(data)} bytes, in its header")
    magic, version, code, sequences, borders = HEADER.unpack(data[: HEADER.size].tobytes())
    if magic != MAGIC:
        raise broken(index, "it does not begin as an index of Megatron's does")
    if version != 1:
        raise StoreVersionError(f"{index} has version {version} of Megatron's index: version 1 is read")
    kind = CODES.get(code)
    if kind is None or kind.startswith("float"):
        what = f"a dtype by the unknown code {code}" if kind is None else kind
        raise StoreError(
            f"{index} says that its tokens are {what}: token ids are integers, with a code of 1-5 or 8"
        )
    return kind, sequences, borders
