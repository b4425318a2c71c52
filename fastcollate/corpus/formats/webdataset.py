"""WebDataset: tar files with an `.npy` array of token ids for each record, read where they lie in the tar.

A record is the members whose names have the same beginning up to the first dot; its tokens are the member
`KEY.npy`, `KEY.input_ids.npy` or `KEY.tokens.npy`, its labels `KEY.labels.npy`. Nothing is unpickled, and a member
of another kind, such as `KEY.json`, is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.formats.columns.npy_arrays import Extent, NpyArray, npy_array
from fastcollate.corpus.formats.columns.tar_members import tar_members
from fastcollate.corpus.formats.columns.token_columns import token_columns
from fastcollate.corpus.mapped.copied_rows import Arrays, CopiedRows
from fastcollate.corpus.mapped.mapped_files import broken, check_dtype, first_bytes, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, Piece, rows_in_bytes
from fastcollate.corpus.mapped.series import natural
from fastcollate.errors import StoreError

__all__ = ["claims", "layout_of"]

_MEMBER = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)", re.DOTALL)  # the key of a record, and what it is of the record


class _Member(NamedTuple):
    """A member: the key of its record, its name there, and its array; None where it is no array."""

    key: str
    name: str
    array: NpyArray | None


def claims(path: Path) -> bool:
    """Tell whether a path is a tar file, or a folder that has some."""
    files = _tars(path)
    return bool(files) and (_is_compressed(files[0]) or first_bytes(files[0], 263)[257:262] == b"ustar")


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return where the rows of one tar file, or of all those of a folder, lie.

    Raises:
        StoreError: A tar is cut short or compressed, or a record in it has no tokens, or not one array of them.
        InputError: `dtype` is another than the files have.
    """
    files = _tars(path)
    return Layout("WebDataset", files, [_piece(file, dtype) for file in files], eot_token_id)


def _tars(path: Path) -> list[Path]:
    if path.is_dir():
        return natural(file for file in path.iterdir() if file.suffix == ".tar" or _is_compressed(file))
    return [path] if path.is_file() else []


def _is_compressed(file: Path) -> bool:
    return file.name.endswith((".tar.gz", ".tgz")) and first_bytes(file, 2) == b"\x1f\x8b"


def _piece(file: Path, dtype: Any) -> Piece:
    if _is_compressed(file):
        raise StoreError(
            f"{file} is compressed, and can be mapped only as it is: decompress it with `gunzip` first"
        )
    data = whole_file(file)
    tokens, labels = list[NpyArray](), list[NpyArray]()
    checked = lru_cache(lambda names: token_columns(file, names))
    for key, members in groupby(_members(file, data), lambda member: member.key):
        named = [(member.name, member.array) for member in members if member.array is not None]
        arrays = dict(named)
        if len(arrays) != len(named):
            raise broken(file, f"the record {key} has an array twice")
        columns = checked(frozenset(arrays))
        tokens.append(arrays[columns.tokens])
        if columns.labels is not None:
            labels.append(arrays[columns.labels])
        if labels and len(labels) != len(tokens):
            raise broken(file, f"some records have labels, and others, such as {key}, have none")
    if not tokens:
        raise StoreError(f"{file} has no record: it is an empty tar")
    check_dtype(dtype, tokens[0].dtype, file)
    return Piece(file, _rows(file, data, tokens), _rows(file, data, labels, labels=True) if labels else None)


def _rows(
    file: Path, data: NDArray[np.uint8], arrays: list[NpyArray], *, labels: bool = False
) -> MappedRows | CopiedRows:
    kinds = {array.dtype for array in arrays}
    if len(kinds) > 1:
        raise StoreError(f"{file} has arrays of {' and '.join(map(str, kinds))}: write all as one dtype")
    starts, counts = (np.array([array[i] for array in arrays], np.int64) for i in (1, 2))
    return rows_in_bytes(file, data, Arrays(kinds.pop(), starts, counts), labels=labels)


def _members(file: Path, data: NDArray[np.uint8]) -> Iterator[_Member]:
    """Yield the members of a tar that belong to records."""
    for name, start, size in tar_members(file, data):
        if named := _MEMBER.fullmatch(name):
            key, rest = named[1], named[2].lower()
            is_array = rest == "npy" or rest.endswith(".npy")
            array = npy_array(file, name, data, Extent(start, size)) if is_array else None
            yield _Member(key, "input_ids" if rest == "npy" else rest.removesuffix(".npy"), array)
