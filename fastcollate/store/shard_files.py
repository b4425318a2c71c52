"""Writing and mapping one shard, in either layout."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError, StoreCorruptError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.storage.local import replacing
from fastcollate.store.hashes import shard_hashes
from fastcollate.store.manifest import ARRAYS, FileEntry, Layout, ShardEntry, file_names

__all__ = ["Arrays", "Shard", "map_shard", "write_shard"]

_DTYPES = {"offsets": "int64", "spans": "uint32", "span_offsets": "int64", "source_row": "int64"}
# What pyarrow and NumPy raise for files that are not what they should be.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    NotImplementedError,
    OSError,
    InputError,
    TokenError,
    Warning,
)


Arrays = Mapping[str, NDArray[Any]]
"""The arrays of a shard by their names in `manifest.ARRAYS`."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard, mapped: tokens uint16|uint32, spans uint32 (flat pairs), source_rows int64[N]."""

    tokens: Ragged
    spans: Ragged
    source_rows: IntArray


def write_shard(directory: Path, number: int, layout: Layout, arrays: Arrays) -> ShardEntry:
    """Write shard `number` and return its line of the manifest.

    Raises:
        StorageError: The disk failed.
    """
    paths = [directory / name for name in file_names(number, layout)]
    if layout == "arrow":
        _write_arrow(paths[0], arrays)
    else:
        for path, name in zip(paths, ARRAYS, strict=True):
            with replacing(path) as file:
                np.lib.format.write_array(file, arrays[name], allow_pickle=False)
    tokens, rows = arrays["input_ids"], arrays["source_row"]
    values_at = _values_at(paths[0], tokens)
    index_sha256, hashes = shard_hashes(paths, values_at, tokens.nbytes)
    return ShardEntry(
        values_at=values_at,
        records=len(rows),
        tokens=len(tokens),
        span_values=len(arrays["spans"]),
        index_sha256=index_sha256,
        source_rows=[int(rows[0]), int(rows[-1])],
        files=[
            FileEntry(path.name, path.stat().st_size, sha256) for path, sha256 in zip(paths, hashes, strict=True)
        ],
    )


def map_shard(directory: Path, entry: ShardEntry, layout: Layout, dtype: str) -> Shard:
    """Memory-map the shard of a manifest's line; its arrays are read-only views of the files.

    Raises:
        StoreCorruptError: A file is not of the layout, or holds other counts than the manifest says.
    """
    paths = [directory / file.name for file in entry.files]
    try:
        arrays = (
            _map_arrow(paths[0]) if layout == "arrow" else dict(zip(ARRAYS, map(_map_npy, paths), strict=True))
        )
        found = {name: str(array.dtype) for name, array in arrays.items()}
        if found != (expected := {**_DTYPES, "input_ids": dtype}):
            raise ValueError(f"its arrays are {found}, not {expected}")
        tokens = Ragged(arrays["input_ids"], arrays["offsets"])
        spans = Ragged(arrays["spans"], arrays["span_offsets"])
    except _UNREADABLE as error:
        raise StoreCorruptError(
            f"{paths[0]} is not a shard of this store ({error}): restore the file or prepare the store again"
        ) from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if lengths != _lengths(entry):
        raise StoreCorruptError(
            f"{paths[0]} has other records than the manifest says (swapped or changed): restore the file or "
            "prepare the store again"
        )
    return Shard(tokens, spans, arrays["source_row"])


def _lengths(entry: ShardEntry) -> dict[str, int]:
    """Return how long each array is, by the manifest."""
    return {
        "input_ids": entry.tokens,
        "offsets": entry.records + 1,
        "spans": entry.span_values,
        "span_offsets": entry.records + 1,
        "source_row": entry.records,
    }


def _values_at(path: Path, values: NDArray[Any]) -> int:
    """Where in its file the token ids begin."""
    if path.suffix == ".npy":
        return path.stat().st_size - values.nbytes
    import pyarrow as pa  # noqa: PLC0415

    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()
        return int(pa.ipc.open_file(whole).get_batch(0).column(0).values.buffers()[1].address - whole.address)


def _write_arrow(path: Path, arrays: Arrays) -> None:
    import pyarrow as pa  # noqa: PLC0415  # the npy layout and `import fastcollate` do without it

    of = {
        name: pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, pa.py_buffer(array)])
        for name, array in ((name, np.ascontiguousarray(arrays[name])) for name in ARRAYS)
    }
    columns = {
        "input_ids": pa.LargeListArray.from_arrays(of["offsets"], of["input_ids"]),
        "spans": pa.LargeListArray.from_arrays(of["span_offsets"], of["spans"]),
        "source_row": of["source_row"],
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    with replacing(path) as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _map_arrow(path: Path) -> dict[str, NDArray[Any]]:
    import pyarrow as pa  # noqa: PLC0415

    file = pa.ipc.open_file(pa.memory_map(str(path)))
    if file.num_record_batches != 1 or file.schema.names != ["input_ids", "spans", "source_row"]:
        raise ValueError("it has other columns or record batches")
    batch = file.get_batch(0)
    batch.validate()  # opening does not compare the buffers' sizes with the columns' lengths
    tokens, spans, source_rows = batch.columns
    if any(column.null_count for column in (tokens, spans, source_rows, tokens.values, spans.values)):
        raise ValueError("it holds nulls")
    return {
        "input_ids": _view(tokens.values),
        "offsets": _view(tokens.offsets),
        "spans": _view(spans.values),
        "span_offsets": _view(spans.offsets),
        "source_row": _view(source_rows),
    }


def _view(array: Any) -> NDArray[Any]:
    """A primitive Arrow array without a copy; its own `to_numpy` would import pandas where that is installed."""
    dtype = np.dtype(str(array.type))
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)


def _map_npy(path: Path) -> NDArray[Any]:
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a damaged header may parse, with a warning
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return mapped  # the memmap subclass makes each slice several times slower
