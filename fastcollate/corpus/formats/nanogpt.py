"""A bare stream of tokens, as nanoGPT's `prepare.py` writes it: `train.bin` without a header.

Nothing in such a file says what it is: the caller names dtype and end token, and so says himself that he has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastcollate.corpus.end_cuts import cut_behind, end_token
from fastcollate.corpus.mapped_files import named_dtype, viewed, whole_file
from fastcollate.corpus.mapped_rows import Layout, Piece, as_tokens
from fastcollate.errors import InputError

__all__ = ["claims", "layout_of"]


def claims(path: Path) -> bool:
    """Tell whether it is a file named `.bin`, which no other format has claimed."""
    return path.suffix == ".bin" and path.is_file()


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return the documents of a stream.

    Raises:
        InputError: The dtype or the end token is not named.
        StoreError: The file is no whole number of tokens.
    """
    if dtype is None:
        raise InputError(
            f"{path} has no header that says what it is: name the dtype of its tokens as dtype=..., such as "
            '"uint16" for what nanoGPT writes'
        )
    end = end_token(eot_token_id, path)
    values = as_tokens(viewed(path, whole_file(path), named_dtype(dtype)))
    return Layout("raw tokens", [path], [Piece(path, cut_behind(values, end))], end)
