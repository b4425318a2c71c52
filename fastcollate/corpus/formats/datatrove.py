"""The files of datatrove, which nanotron reads: tokens in `.ds`, and the ends of documents in `.ds.index`.

The tokens are uint16 or uint32 without a header, the index is the place behind each document's last token, uint64;
`.ds.metadata` has the tokenizer and the bytes of a token in its first line, a bar between them, and `.ds.loss`,
where it exists, one byte for each token, 0 where there is nothing to learn. Source:
pipeline/tokens/tokenizer.py of datatrove.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from fastcollate.corpus.row_checks import NO_TARGET
from fastcollate.errors import InputError

__all__ = ["claims", "layout_of"]

_DTYPES = {2: "uint16", 4: "uint32"}
_LONGEST = 4096  # bytes of the first line of the metadata


def claims(path: Path) -> bool:
    """Tell whether there are files named `.ds`, as nobody else's are."""
    return bool(files_at(path, ".ds"))


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return the documents of all files; those without an index are cut at the end token.

    Where the tokens have a mask of their loss, they have labels, which are made in memory: 4 bytes a token.

    Raises:
        InputError: A file has no index and the end token is not named, or nothing says the size of a token, or
            `dtype` is another one, or the folder has several series of files.
        StoreError: A file is not what was written.
    """
    files = files_at(path, ".ds")
    check_series(path, files)
    pieces = [_piece(file, dtype, eot_token_id) for file in files]
    if any(piece.labels is not None for piece in pieces):
        pieces = [piece if piece.labels else piece._replace(labels=_labels(piece, None)) for piece in pieces]
    beside = [_beside(file, ending) for file in files for ending in ("", ".index", ".loss")]
    name = _metadata(files[0])[0]
    found = [file for file in beside if file.is_file()]
    return Layout("datatrove", found, pieces, eot_token_id, noted={"tokenizer": name} if name else {})


def _piece(file: Path, dtype: Any, eot_token_id: int | None) -> Piece:
    data, index = whole_file(file), _beside(file, ".index")
    if index.is_file():
        ends = viewed(index, whole_file(index), np.uint64).view(np.int64)
        kind = _kind(file, len(data), int(ends[-1]) if len(ends) else 0)
        check_dtype(dtype, kind, file)
        lengths = np.diff(ends, prepend=0)
        rows = MappedRows(viewed(file, data, kind), ends - lengths, lengths)
        piece = Piece(file, rows)
    else:
        kind = _asked(file, dtype)
        (piece,) = cut_streams([(file, as_tokens(viewed(file, data, kind)))], eot_token_id, usually_first=False)
    loss = _beside(file, ".loss")
    return piece._replace(labels=_labels(piece, loss)) if loss.is_file() else piece


def _kind(file: Path, size: int, tokens: int) -> str:
    """Return the dtype by which the file has as many tokens as its index says."""
    wanted = _metadata(file)[1]
    for width, name in _DTYPES.items():
        if tokens * width == size and wanted in {0, width}:
            return name
    said = f" of {wanted} bytes" if wanted else ""
    raise broken(file, f"it has {size} bytes where its index ends at token {tokens}{said}")


def _asked(file: Path, dtype: Any) -> Any:
    width = _metadata(file)[1]
    if width in _DTYPES:
        check_dtype(dtype, _DTYPES[width], file)
        return _DTYPES[width]
    if dtype is None:
        raise InputError(f"{file} has neither an index nor metadata: name the dtype of its tokens as dtype=...")
    return named_dtype(dtype)


def _metadata(file: Path) -> tuple[str, int]:
    """Return the name of the tokenizer and the size of a token, where there is metadata; else "" and 0."""
    line = first_bytes(_beside(file, ".metadata"), _LONGEST).decode(errors="replace").split("\n")[0]
    name, _, width = line.rpartition("|")
    return (name, int(width)) if width in {"2", "4"} else ("", 0)


def _labels(piece: Piece, loss: Path | None) -> MappedRows:
    tokens = piece.tokens
    labels: NDArray[np.int32] = tokens.values.astype(np.int32)
    if loss is not None:
        mask = viewed(loss, whole_file(loss), np.uint8)
        if len(mask) != len(labels):
            raise broken(loss, f"it has {len(mask)} bytes for {len(labels)} tokens")
        labels[mask == 0] = NO_TARGET
    return MappedRows(labels, tokens.starts, tokens.lengths)


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
