"""litData chunks: `index.json` and `chunk-0-0.bin`, read where they lie.

A chunk is the number of its items (uint32), where each begins and the last ends (uint32), and the items. Under a
`TokensLoader` an item is its tokens alone, and is a record here: blocks are for a plan to cut. Under a
`PyTreeLoader` an item is the size (uint32) of each of its leaves, and then the leaves, which the index names: the
tokens are the leaf `input_ids` or `tokens`, or the only one there is, and `labels` go with them. Leaves are read
that are arrays of one dimension; a pickle is never opened.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastcollate.corpus.formats.columns.index_files import beside, index_of, listed
from fastcollate.corpus.formats.columns.samples import Places, check_samples, column_places, sample_edges
from fastcollate.corpus.formats.columns.token_columns import TokenColumns, token_columns
from fastcollate.corpus.mapped.copied_rows import Arrays, CopiedRows
from fastcollate.corpus.mapped.mapped_files import broken, check_dtype, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout, MappedRows, Piece, rows_in_bytes
from fastcollate.errors import StoreError

__all__ = ["claims", "layout_of"]

_INDEX = "index.json"
# The numbers that litData gives to dtypes, those of integers.
_OF_NUMPY = dict(enumerate(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")))
_OF_TORCH = {
    11: "uint8",
    12: "int8",
    13: "int16",
    14: "int16",
    15: "int32",
    16: "int32",
    17: "int64",
    18: "int64",
    20: "uint16",
}
_DTYPES = {"no_header_numpy": _OF_NUMPY, "no_header_tensor": _OF_TORCH}


def claims(path: Path) -> bool:
    """Tell whether a folder has an index of litData chunks."""
    return "chunks" in index_of(path / _INDEX)


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return where the rows of all chunks lie.

    Raises:
        StoreError: A chunk is missing, compressed, encrypted, or not what the index says, or its tokens are no
            flat array.
        InputError: `dtype` is another than the files have.
    """
    index = path / _INDEX
    content = index_of(index)
    chunks, config = listed(index, content.get("chunks"), "chunks"), content.get("config")
    if not isinstance(config, dict):
        raise broken(index, "it has no config")
    for name in ("compression", "encryption"):
        if config.get(name):
            raise StoreError(f"{index} has chunks with {name} ({config[name]!r:.40}): write them without it")
    leaves = _leaves(index, config)
    check_dtype(dtype, leaves.dtypes[leaves.columns.tokens], index)
    files = [beside(index, chunk.get("filename")) for chunk in chunks]
    pieces = [_piece(file, chunk, leaves) for file, chunk in zip(files, chunks, strict=True)]
    return Layout("litData", [index, *files], pieces, eot_token_id)


class _Leaves(NamedTuple):
    """The leaves of an item, by name.

    Attributes:
        names: The names of all leaves, in their order.
        columns: Those that are read.
        dtypes: The dtype of each of these.
        bare: Whether an item is its tokens alone, without a size.
    """

    names: list[str]
    columns: TokenColumns
    dtypes: dict[str, np.dtype[Any]]
    bare: bool


def _leaves(index: Path, config: dict[str, Any]) -> _Leaves:
    kinds, loader = config.get("data_format"), config.get("item_loader")
    if loader not in ("TokensLoader", "PyTreeLoader"):
        raise StoreError(f"{index} is for a {loader!r:.40}: chunks of a TokensLoader or a PyTreeLoader are read")
    try:
        names = _names(json.loads(config["data_spec"])[1])
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise broken(index, "its data_spec is no tree") from error
    bare = loader == "TokensLoader"
    if not isinstance(kinds, list) or not len(kinds) == len(names) == len(set(names)) or (bare and len(names) > 1):
        raise broken(index, f"it has {len(names)} leaves, and kinds of others")
    if names in ([""], ["0"]):  # an array alone, or in a list
        names = ["input_ids"]
    columns, known = token_columns(index, names), dict(zip(names, map(str, kinds), strict=True))
    read = [name for name in columns if name is not None]
    return _Leaves(names, columns, {name: _dtype(index, name, known[name]) for name in read}, bare)


def _dtype(index: Path, name: str, kind: str) -> np.dtype[Any]:
    kept, _, number = kind.partition(":")
    known = _DTYPES.get(kept, {})
    if not number.isdecimal() or int(number) not in known:
        raise StoreError(
            f"{index} has its {name} as {kind!r:.40}: they are read as one-dimensional arrays of integers "
            f"({', '.join(_DTYPES)}), and nothing is unpickled"
        )
    return np.dtype(known[int(number)])


def _names(spec: dict[str, Any], name: str = "") -> list[str]:
    """Return the names of the leaves of a tree: the keys of dicts, and numbers elsewhere."""
    if spec["type"] is None:
        return [name]
    children = spec["children_spec"]
    keys = json.loads(spec["context"]) if spec["type"] == "builtins.dict" else range(len(children))
    return [
        leaf
        for key, child in zip(keys, children, strict=True)
        for leaf in _names(child, f"{name}.{key}".removeprefix("."))
    ]


def _piece(file: Path, chunk: dict[str, Any], leaves: _Leaves) -> Piece:
    data = whole_file(file)
    edges = sample_edges(file, data, chunk.get("chunk_size"))
    if leaves.bare:
        places = [Places(edges[:-1], np.diff(edges))]
        size = leaves.dtypes[leaves.columns.tokens].itemsize
        if chunk.get("dim") != (edges[-1] - edges[0]) // size:
            raise broken(file, f"it has not the {chunk.get('dim')!r:.20} tokens that its index says")
    else:
        places = column_places(file, data, edges, [None] * len(leaves.names))
    rows = dict[str, MappedRows | CopiedRows]()
    for name, dtype in leaves.dtypes.items():
        starts, sizes = places[leaves.names.index(name)]
        check_samples(file, sizes % dtype.itemsize == 0, f"has {name} that are no whole {dtype}")
        arrays = Arrays(dtype, starts, sizes // dtype.itemsize)
        rows[name] = rows_in_bytes(file, data, arrays, labels=name == leaves.columns.labels)
    return Piece(file, *rows.values())
