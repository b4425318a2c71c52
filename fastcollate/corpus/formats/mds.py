"""MDS, the shards of MosaicML's Streaming: `index.json` and `shard.00000.mds`, read where they lie.

A shard is the number of its samples, where each begins and the last ends (uint32), a copy of the settings, and the
samples: the sizes (uint32) of columns that have no fixed one, then the columns. An `ndarray` is its dtype (a byte)
and its shape, unless the encoding names them, and its values. Tokens are a column `input_ids` or `tokens` of flat
integers, or of `bytes` whose dtype the caller names. They lie at any byte, so rows are copied when they are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.copied_rows import Arrays
from fastcollate.corpus.formats.columns.index_files import beside, index_of, listed
from fastcollate.corpus.formats.columns.samples import (
    Places,
    check_samples,
    column_places,
    numbers_at,
    sample_edges,
)
from fastcollate.corpus.formats.columns.token_columns import token_columns
from fastcollate.corpus.mapped_files import broken, check_dtype, named_dtype, whole_file
from fastcollate.corpus.mapped_rows import Layout, Piece, rows_in_bytes
from fastcollate.errors import InputError, StoreError
from fastcollate.ragged import IntArray

__all__ = ["claims", "layout_of"]

_INDEX = "index.json"
_DTYPES = {8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 32: "uint32", 33: "int32", 64: "uint64", 65: "int64"}


class _Column(NamedTuple):
    """A column of a shard: its name, its encoding, and where it lies in each sample."""

    name: str
    encoding: str
    places: Places


def claims(path: Path) -> bool:
    """Tell whether a folder has an index of MDS shards."""
    return "shards" in index_of(path / _INDEX)


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return where the rows of all shards lie.

    Raises:
        StoreError: A shard is missing, compressed, or not what the index says; or its tokens are no such array.
        InputError: Tokens are bytes, and nobody names their dtype.
    """
    index = path / _INDEX
    shards = listed(index, index_of(index).get("shards"), "shards")
    files = [_file(index, shard) for shard in shards]
    pieces = [_piece(file, shard, dtype) for file, shard in zip(files, shards, strict=True)]
    return Layout("MDS", [index, *files], pieces, eot_token_id)


def _file(index: Path, shard: dict[str, Any]) -> Path:
    """Return the file of a shard, as its writer left it before any compression."""
    if (shard.get("format"), shard.get("version")) != ("mds", 2):
        found = f"format {shard.get('format')!r:.20}, version {shard.get('version')!r:.20}"
        raise StoreError(f"{index} has shards of {found}: those of MDS, version 2, are read")
    raw, packed = shard.get("raw_data"), shard.get("zip_data")
    if not isinstance(raw, dict) or not isinstance(packed, dict | None):
        raise broken(index, "a shard has no raw_data")
    file = beside(index, raw.get("basename"))
    if packed is not None and not file.is_file() and beside(index, packed.get("basename")).is_file():
        raise StoreError(
            f"{file} is there only compressed, as {packed['basename']}, and is read as it is: decompress it first "
            f"({str(shard.get('compression')).partition(':')[0]})"
        )
    return file


def _piece(file: Path, shard: dict[str, Any], dtype: Any) -> Piece:
    data = whole_file(file)
    if shard["raw_data"].get("bytes") != len(data):
        raise broken(file, f"it has {len(data)} bytes where its index has {shard['raw_data'].get('bytes')!r:.20}")
    columns = _columns(file, data, shard)
    names = token_columns(file, columns)
    tokens = rows_in_bytes(file, data, _arrays(file, data, columns[names.tokens], dtype))
    if names.labels is None:
        return Piece(file, tokens)
    return Piece(
        file, tokens, rows_in_bytes(file, data, _arrays(file, data, columns[names.labels], None), labels=True)
    )


def _columns(file: Path, data: NDArray[np.uint8], shard: dict[str, Any]) -> dict[str, _Column]:
    told = [shard.get(f"column_{part}") for part in ("names", "encodings", "sizes")]
    if not all(isinstance(part, list) and len(part) == len(told[0] or ()) for part in told):
        raise broken(file, "its index names no columns")
    names, encodings, sizes = (part or [] for part in told)
    if not all(size is None or (isinstance(size, int) and 0 <= size < 2**32) for size in sizes):
        raise broken(file, "its index has a size of a column that is none")
    fixed = [size or None for size in sizes]
    places = column_places(file, data, sample_edges(file, data, shard.get("samples")), fixed)
    return {
        str(name): _Column(str(name), str(encoding), lying)
        for name, encoding, lying in zip(names, encodings, places, strict=True)
    }


def _arrays(file: Path, data: NDArray[np.uint8], column: _Column, dtype: Any) -> Arrays:
    """Return where the arrays of a column lie, as its encoding says."""
    name, encoding, (starts, sizes) = column
    kind, _, settings = encoding.partition(":")
    named, _, shape = settings.partition(":")
    if kind == "bytes":
        if dtype is None:
            raise InputError(
                f"{file} has its {name} as bytes, and does not say of which dtype: name it, such as dtype='int64'"
            )
        found = named_dtype(dtype)
        check_samples(file, sizes % found.itemsize == 0, f"has {name} that are no whole {found}")
        return Arrays(found, starts, sizes // found.itemsize)
    if kind != "ndarray":
        raise StoreError(f"{file} has its {name} as {encoding!r:.40}: an ndarray is read, and nothing unpickled")
    if not named:
        check_samples(file, sizes > 0, f"has no {name}")
        codes = np.unique(data[starts])
        named = _DTYPES.get(int(codes[0]), "no integers") if len(codes) == 1 else "several dtypes"
        starts, sizes = starts + 1, sizes - 1
    if named not in _DTYPES.values() or "," in shape:
        raise StoreError(f"{file} has its {name} as {encoding} ({named}): they must be flat integers of one dtype")
    check_dtype(dtype, named, file)
    size = np.dtype(named).itemsize
    starts, sizes, counts = (starts, sizes, sizes // size) if shape else _flat(file, data, name, starts, sizes)
    check_samples(file, counts * size == sizes, f"has {name} of another size than it says")
    return Arrays(np.dtype(named), starts, counts)


def _flat(
    file: Path, data: NDArray[np.uint8], name: str, starts: IntArray, sizes: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Return where arrays lie behind their shapes, and their values: 0b101 is one dimension, in two bytes more."""
    check_samples(file, sizes > 0, f"has no {name}")
    shapes = data[starts]
    widths = np.int64(1) << (shapes & 3)
    check_samples(file, (shapes >> 2 == 1) & (sizes > widths), f"has {name} that are not one-dimensional")
    counts = np.empty(len(starts), np.int64)
    for width in np.unique(widths).tolist():
        some = np.flatnonzero(widths == width)
        counts[some] = numbers_at(data, starts[some] + 1, width)
    return starts + 1 + widths, sizes - 1 - widths, counts
