"""Writing and mapping one shard, in either layout."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError, StoreCorruptError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.storage.local import replacing
from fastcollate.store.hashes import file_hash, index_hash
from fastcollate.store.manifest import ARRAYS, FileEntry, Layout, ShardEntry, file_names

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


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard in memory or mapped: tokens uint16|uint32, spans uint32 (flat pairs), source_rows int64[N]."""

    tokens: Ragged
    spans: Ragged
    source_rows: IntArray


def write_shard(directory: Path, number: int, layout: Layout, shard: Shard) -> ShardEntry:
    """Write shard `number` and return its line of the manifest."""
    paths = [directory / name for name in file_names(number, layout)]
    if layout == "arrow":
        _write_arrow(paths[0], shard)
    else:
        for path, array in zip(paths, _arrays(shard), strict=True):
            with replacing(path) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    values_at = _values_at(paths[0], shard.tokens.values)
    return ShardEntry(
        values_at=values_at,
        records=len(shard.tokens),
        tokens=len(shard.tokens.values),
        span_values=len(shard.spans.values),
        index_sha256=index_hash(paths, values_at, shard.tokens.values.nbytes),
        source_rows=[int(shard.source_rows[0]), int(shard.source_rows[-1])],
        files=[FileEntry(path.name, path.stat().st_size, file_hash(path)) for path in paths],
    )


def map_shard(directory: Path, number: int, layout: Layout, dtype: str) -> Shard:
    """Memory-map shard `number`; its arrays are read-only views of the files.

    Raises:
        StoreCorruptError: a file that is not of the layout.
    """
    paths = [directory / name for name in file_names(number, layout)]
    try:
        arrays = _map_arrow(paths[0]) if layout == "arrow" else [_map_npy(path) for path in paths]
        expected = [dtype, "int64", "uint32", "int64", "int64"]
        if [str(array.dtype) for array in arrays] != expected:
            raise ValueError(f"its arrays are {[str(a.dtype) for a in arrays]}, not {expected}")
        return Shard(Ragged(arrays[0], arrays[1]), Ragged(arrays[2], arrays[3]), arrays[4])
    except _UNREADABLE as error:
        raise StoreCorruptError(
            f"{paths[0]} is not a shard of this store ({error}): restore the file or prepare the store again"
        ) from error


def _values_at(path: Path, values: NDArray[Any]) -> int:
    """Where in its file the token ids begin."""
    if path.suffix == ".npy":
        return path.stat().st_size - values.nbytes
    import pyarrow as pa  # noqa: PLC0415

    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()
        return int(pa.ipc.open_file(whole).get_batch(0).column(0).values.buffers()[1].address - whole.address)


def _arrays(shard: Shard) -> list[NDArray[Any]]:
    arrays = [
        shard.tokens.values,
        shard.tokens.offsets,
        shard.spans.values,
        shard.spans.offsets,
        shard.source_rows,
    ]
    assert len(arrays) == len(ARRAYS)
    return arrays


def _write_arrow(path: Path, shard: Shard) -> None:
    import pyarrow as pa  # noqa: PLC0415  # the npy layout and `import fastcollate` do without it

    values, offsets, spans, span_offsets, source_rows = (
        pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, pa.py_buffer(array)])
        for array in map(np.ascontiguousarray, _arrays(shard))
    )
    columns = {
        "input_ids": pa.LargeListArray.from_arrays(offsets, values),
        "spans": pa.LargeListArray.from_arrays(span_offsets, spans),
        "source_row": source_rows,
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    with replacing(path) as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _map_arrow(path: Path) -> list[NDArray[Any]]:
    import pyarrow as pa  # noqa: PLC0415

    file = pa.ipc.open_file(pa.memory_map(str(path)))
    if file.num_record_batches != 1 or file.schema.names != ["input_ids", "spans", "source_row"]:
        raise ValueError("it has other columns or record batches")
    batch = file.get_batch(0)
    batch.validate()  # opening does not compare the buffers' sizes with the columns' lengths
    tokens, spans, source_rows = batch.columns
    if any(column.null_count for column in (tokens, spans, source_rows, tokens.values, spans.values)):
        raise ValueError("it holds nulls")
    arrays = (tokens.values, tokens.offsets, spans.values, spans.offsets, source_rows)
    return [_view(array) for array in arrays]


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
