"""MDS, the shards of MosaicML's Streaming: `index.json` and `shard.00000.mds`, read where they lie.

A shard is the number of its samples, where each begins and the last ends (uint32), a copy of the settings, and the
samples: the sizes (uint32) of columns that have no fixed one, then the columns. An `ndarray` is its dtype (a byte)
and its shape, unless the encoding names them, and its values. Tokens are a column `input_ids` or `tokens` of flat
integers, or of `bytes` whose dtype the caller names. They lie at any byte, so rows are copied when they are read.
Where the index has a hash that Python knows, datasets compare it with the shard during their first epoch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.formats.columns.index_files import beside, index_of, listed
from fastcollate.corpus.formats.columns.mds_arrays import MdsColumn, mds_arrays
from fastcollate.corpus.formats.columns.samples import column_places, sample_edges
from fastcollate.corpus.formats.columns.token_columns import token_columns
from fastcollate.corpus.mapped.hashed_files import HashedFile
from fastcollate.corpus.mapped.mapped_files import broken, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout, Piece, rows_in_bytes
from fastcollate.errors import StoreError

__all__ = ["claims", "layout_of"]

_INDEX = "index.json"


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
    pieces, hashed = list[Piece](), list[HashedFile]()
    for file, shard in zip(files, shards, strict=True):
        data, hashes = whole_file(file), shard["raw_data"].get("hashes")
        pieces.append(_piece(file, data, shard, dtype))
        hashed += HashedFile.of(file, data, hashes if isinstance(hashes, dict) else {})
    return Layout("MDS", [index, *files], pieces, eot_token_id, hashed=hashed)


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


def _piece(file: Path, data: NDArray[np.uint8], shard: dict[str, Any], dtype: Any) -> Piece:
    if shard["raw_data"].get("bytes") != len(data):
        raise broken(file, f"it has {len(data)} bytes where its index has {shard['raw_data'].get('bytes')!r:.20}")
    columns = _columns(file, data, shard)
    names = token_columns(file, columns)
    tokens = rows_in_bytes(file, data, mds_arrays(file, data, columns[names.tokens], dtype))
    if names.labels is None:
        return Piece(file, tokens)
    return Piece(
        file, tokens, rows_in_bytes(file, data, mds_arrays(file, data, columns[names.labels], None), labels=True)
    )


def _columns(file: Path, data: NDArray[np.uint8], shard: dict[str, Any]) -> dict[str, MdsColumn]:
    told = [shard.get(f"column_{part}") for part in ("names", "encodings", "sizes")]
    if not all(isinstance(part, list) and len(part) == len(told[0] or ()) for part in told):
        raise broken(file, "its index names no columns")
    names, encodings, sizes = (part or [] for part in told)
    if not all(size is None or (isinstance(size, int) and 0 <= size < 2**32) for size in sizes):
        raise broken(file, "its index has a size of a column that is none")
    fixed = [size or None for size in sizes]
    places = column_places(file, data, sample_edges(file, data, shard.get("samples")), fixed)
    return {
        str(name): MdsColumn(str(name), str(encoding), lying)
        for name, encoding, lying in zip(names, encodings, places, strict=True)
    }
