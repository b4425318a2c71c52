"""Writing one shard, in either layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StorageError
from fastcollate.storage.local import replacing
from fastcollate.store.shards.entries import FileEntry, Layout, ShardEntry, file_names
from fastcollate.store.shards.hashes import HashingFile, block_checksums, index_hash
from fastcollate.store.shards.shard_arrays import STRING, Arrays, ColumnEntry, dictionary_of

__all__ = ["write_shard"]

_WRITTEN_AT_ONCE = 1 << 20  # bytes


def write_shard(
    directory: Path,
    number: int,
    layout: Layout,
    arrays: Arrays,
    columns: Mapping[str, ColumnEntry],
    *,
    stem: str = "shard",
) -> ShardEntry:
    """Write shard `number` and return its line of the manifest; `make_durable` brings its files to the disk.

    Args:
        directory: The directory of the store.
        number: The number of the shard, from 0.
        layout: The kind of files.
        arrays: The arrays by name, in the order of `array_dtypes`.
        columns: The named columns.
        stem: What the names of its files begin with.

    Raises:
        StorageError: The disk failed.
    """
    columns = {name: entry for name, entry in columns.items() if name in arrays}
    *names, blocks = file_names(number, layout, list(arrays), stem=stem)
    with ThreadPoolExecutor(1) as beside:
        checksums = beside.submit(block_checksums, arrays["input_ids"])
        index = beside.submit(index_hash, [array for name, array in arrays.items() if name != "input_ids"])
        if layout == "arrow":
            entry = _write(directory / names[0], partial(_write_arrow, arrays=arrays, columns=columns))
            files, places = [entry], _arrow_places(directory / names[0], arrays, columns)
        else:
            files, places = [], {}
            for i, (name, array) in enumerate(arrays.items()):
                files.append(_write(directory / names[i], partial(_write_npy, array=array)))
                places[name] = [i, files[-1].bytes - array.nbytes, len(array)]
    files.append(_write(directory / blocks, partial(_write_npy, array=checksums.result())))
    return ShardEntry(
        records=len(arrays["source_row"]),
        tokens=len(arrays["input_ids"]),
        row_base=0,
        index_sha256=index.result(),
        places=places,
        files=files,
    )


def _write(path: Path, write: Callable[[BinaryIO], None]) -> FileEntry:
    with replacing(path, durable=False) as file:
        hashing = HashingFile(file)
        buffered = BufferedWriter(hashing, _WRITTEN_AT_ONCE)  # Arrow writes many small pieces
        write(buffered)
        buffered.flush()
    if (size := path.stat().st_size) != hashing.count:
        raise StorageError(f"{path}: the disk kept {size} of {hashing.count} bytes: free it or replace it")
    return FileEntry(path.name, hashing.count, hashing.sha256)


def _write_npy(file: BinaryIO, array: NDArray[Any]) -> None:
    flat = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(flat))
    file.write(flat.view(np.uint8).data)


def _write_arrow(file: BinaryIO, arrays: Arrays, columns: Mapping[str, ColumnEntry]) -> None:
    import pyarrow as pa  # noqa: PLC0415  # the npy layout and `import fastcollate` do without it

    def flat(array: NDArray[Any]) -> Any:
        array = np.ascontiguousarray(array)
        return pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, pa.py_buffer(array)])

    def lists(offsets: NDArray[Any], values: NDArray[Any]) -> Any:
        return pa.LargeListArray.from_arrays(flat(offsets), flat(values))

    table = {
        "input_ids": lists(arrays["offsets"], arrays["input_ids"]),
        "spans": lists(arrays["span_offsets"], arrays["spans"]),
        "source_row": flat(arrays["source_row"]),
        "supervised": flat(arrays["supervised"]),
    }
    for name in sorted(columns):
        values, entry = arrays[name], columns[name]
        if entry.dtype == STRING:
            words, offsets = (arrays[part] for part in dictionary_of(name))
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(words)]
            texts = pa.Array.from_buffers(pa.large_utf8(), len(offsets) - 1, buffers)
            table[name] = pa.DictionaryArray.from_arrays(flat(values), texts)
        elif entry.per == "record":
            table[name] = flat(values)
        else:
            table[name] = lists(arrays["offsets"] if entry.per == "token" else arrays["span_offsets"] // 2, values)
    batch = pa.RecordBatch.from_arrays(list(table.values()), names=list(table))
    with pa.ipc.new_file(pa.PythonFile(file, mode="w"), batch.schema) as writer:
        writer.write_batch(batch)


def _arrow_places(path: Path, arrays: Arrays, columns: Mapping[str, ColumnEntry]) -> dict[str, list[int]]:
    """Return where in its file each array lies: the file, its first byte, and how many values it has."""
    import pyarrow as pa  # noqa: PLC0415

    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()
        batch = pa.ipc.open_file(whole).get_batch(0)
        tokens, spans, source_row, supervised = batch.columns[:4]
        found = {
            "input_ids": tokens.values.buffers()[1],
            "offsets": tokens.buffers()[1],
            "spans": spans.values.buffers()[1],
            "span_offsets": spans.buffers()[1],
            "source_row": source_row.buffers()[1],
            "supervised": supervised.buffers()[1],
        }
        for name, entry in columns.items():
            column = batch.column(name)
            if entry.dtype == STRING:
                found[name] = column.indices.buffers()[1]
                words, offsets = dictionary_of(name)
                _, found[offsets], found[words] = column.dictionary.buffers()
            else:
                found[name] = (column if entry.per == "record" else column.values).buffers()[1]
        return {
            name: [0, found[name].address - whole.address if len(array) else 0, len(array)]
            for name, array in arrays.items()
        }
