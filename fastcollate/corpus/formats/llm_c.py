"""The shards of llm.c and modded-nanogpt: a header of 256 int32, then the tokens.

The header has a magic number, a version and the number of tokens: 20240520 and 1 before uint16 (GPT-2), 20240801
and 7 before uint32 (Llama 3). Both programs write the end token before each document, and fill shards to the last
token: a document that goes on in the next one becomes two records. Source: dev/data/data_common.py of llm.c.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.mapped.end_cuts import cut_streams
from fastcollate.corpus.mapped.mapped_files import broken, check_dtype, first_bytes, viewed, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout
from fastcollate.corpus.mapped.series import check_series, files_at
from fastcollate.errors import StoreError, StoreVersionError

__all__ = ["claims", "layout_of"]

_HEADER = 256  # int32
_KINDS = {20240520: (1, "uint16"), 20240801: (7, "uint32")}
_EXAMPLES = 20240522  # the magic number of multiple-choice questions


def claims(path: Path) -> bool:
    """Tell whether the first file begins with one of the magic numbers."""
    files = files_at(path, ".bin")
    return bool(files) and _magic(files[0]) in {*_KINDS, _EXAMPLES}


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return the documents of all shards.

    Raises:
        InputError: The end token is not named, `dtype` is another one than the header says, or the folder has
            several series of shards.
        StoreError: A file is not what was written, or of another kind or version.
    """
    files = files_at(path, ".bin")
    check_series(path, files)
    streams = [(file, _tokens(file, dtype)) for file in files]
    return Layout("llm.c", files, cut_streams(streams, eot_token_id, usually_first=True), eot_token_id)


def _magic(file: Path) -> int:
    return int.from_bytes(first_bytes(file, 4), "little")


def _tokens(file: Path, dtype: Any) -> NDArray[Any]:
    data = whole_file(file)
    magic, version, count = viewed(file, data, np.int32, count=_HEADER)[:3].tolist()
    if magic == _EXAMPLES:
        raise StoreError(
            f"{file} holds questions for an evaluation of llm.c's, not text to train on: leave it out"
        )
    if magic not in _KINDS:
        raise broken(file, f"it begins with {magic}, which no shard of llm.c does")
    known, kind = _KINDS[magic]
    if version != known:
        raise StoreVersionError(
            f"{file} has version {version} of llm.c's shards of {kind}: version {known} is read"
        )
    check_dtype(dtype, kind, file)
    values = viewed(file, data, kind, at=4 * _HEADER)
    if len(values) != count:
        raise broken(file, f"it has {len(values)} tokens where its header has {count}")
    return values
