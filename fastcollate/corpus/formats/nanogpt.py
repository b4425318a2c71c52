"""Bare streams of tokens, as nanoGPT's `prepare.py` writes `train.bin`: no header, no index.

Nothing in such a file says what it is: the caller names dtype and end token, and so says himself that he has one.
Each document ends with its end token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastcollate.corpus.mapped.end_cuts import cut_streams
from fastcollate.corpus.mapped.mapped_files import named_dtype, viewed, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout, as_tokens
from fastcollate.corpus.mapped.series import check_series, files_at
from fastcollate.errors import InputError

__all__ = ["claims", "layout_of"]


def claims(path: Path) -> bool:
    """Tell whether there are files named `.bin`, which no other format has claimed."""
    return bool(files_at(path, ".bin"))


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return the documents of a stream.

    Raises:
        InputError: The dtype or the end token is not named, or the folder has several series of files.
        StoreError: A file is no whole number of tokens.
    """
    files = files_at(path, ".bin")
    check_series(path, files)
    if dtype is None:
        raise InputError(
            f"{files[0]} has no header that says what it is: name the dtype of its tokens as dtype=..., such as "
            '"uint16" for what nanoGPT writes'
        )
    kind = named_dtype(dtype)
    streams = [(file, as_tokens(viewed(file, whole_file(file), kind))) for file in files]
    return Layout("bare tokens", files, cut_streams(streams, eot_token_id, usually_first=False), eot_token_id)
