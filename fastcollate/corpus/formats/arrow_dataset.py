"""Arrow files and streams with `input_ids`, and the folders that `datasets` saves them in, mapped.

Rows are read where they lie, however many record batches a file has. `labels` go with the tokens, and where
`attention_mask` is 0 at an end of a row is padding, which is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.formats.columns.index_files import beside, index_of
from fastcollate.corpus.formats.columns.list_columns import Lists, token_lists
from fastcollate.corpus.formats.columns.token_columns import token_columns
from fastcollate.corpus.mapped.copied_rows import Arrays
from fastcollate.corpus.mapped.mapped_files import broken, check_dtype, first_bytes, whole_file
from fastcollate.corpus.mapped.mapped_rows import Layout, Piece, rows_in_bytes
from fastcollate.errors import StoreError
from fastcollate.ragged import IntArray

__all__ = ["claims", "layout_of"]

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_FILE, _MESSAGE = b"ARROW1", b"\xff\xff\xff\xff"
_END = np.frombuffer(_MESSAGE + bytes(4), np.uint8)  # of a stream


def claims(path: Path) -> bool:
    """Tell whether a path is an Arrow file or stream, or a folder that `save_to_disk` wrote."""
    if path.is_dir():
        return (path / _SPLITS).is_file() or "_data_files" in index_of(path / _STATE)
    head = first_bytes(path, 8)
    return head.startswith(_FILE) or (
        head.startswith(_MESSAGE) and 0 < int.from_bytes(head[4:], "little") < 1 << 24
    )


def layout_of(path: Path, dtype: Any, eot_token_id: int | None) -> Layout:
    """Return where the rows of a file, or of all files of a data set, lie.

    Raises:
        StoreError: A file is missing, cut short, compressed, or has no such columns; or the folder has several
            splits, or an indices mapping.
        InputError: `dtype` is another than the files have.
    """
    if not path.is_dir():
        return Layout("Arrow", [path], _pieces([path], None, dtype), eot_token_id)
    if (path / _SPLITS).is_file():
        splits = index_of(path / _SPLITS).get("splits")
        names = [str(name) for name in splits] if isinstance(splits, list) else []
        raise StoreError(f"{path} has the splits {', '.join(names) or 'none'}: give one of them, as {path}/SPLIT")
    state = index_of(path / _STATE)
    if state.get("_indices_data_files"):
        raise StoreError(
            f"{path} has an indices mapping, which says that some rows are left out or moved: save it again by "
            "`dataset.flatten_indices().save_to_disk(...)`"
        )
    entries = state["_data_files"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries) or not entries:
        raise broken(path / _STATE, "it names no files")
    shown = None if state.get("_output_all_columns") else state.get("_format_columns")
    files = [beside(path / _STATE, entry.get("filename")) for entry in entries]
    return Layout("datasets", [path / _STATE, *files], _pieces(files, shown, dtype), eot_token_id)


def _pieces(files: list[Path], shown: Collection[str] | None, dtype: Any) -> list[Piece]:
    """Return the rows of each file that has some, of the columns that are shown: None for all."""
    pieces = [_piece(file, shown, dtype) for file in files]
    return [piece for piece in pieces if piece is not None]


def _piece(file: Path, shown: Collection[str] | None, dtype: Any) -> Piece | None:
    data = whole_file(file)
    found: list[list[Arrays]] = [[], []]
    first = 0
    with _told(file):
        for batch in _batches(file, data):
            if len(set(batch.schema.names)) < len(batch.schema.names):
                raise broken(file, "two of its columns have one name")
            names = token_columns(
                file, [name for name in batch.schema.names if shown is None or name in shown], has_mask=True
            )
            rows = token_lists(file, batch, names, first)
            for lists, arrays in zip((rows.tokens, rows.labels), found, strict=True):
                if lists is not None:
                    arrays.append(_arrays(file, data, lists, rows.heads, rows.kept))
            first += batch.num_rows
    if not first:
        return None
    check_dtype(dtype, found[0][0].dtype, file)
    tokens, *labels = (
        rows_in_bytes(file, data, _joined(parts), labels=place > 0) for place, parts in enumerate(found) if parts
    )
    return Piece(file, tokens, *labels)


def _joined(parts: list[Arrays]) -> Arrays:
    return Arrays(parts[0].dtype, *(np.concatenate([part[i] for part in parts]) for i in (1, 2)))


def _batches(file: Path, data: NDArray[np.uint8]) -> Iterator[Any]:
    import pyarrow as pa  # noqa: PLC0415  # only for those who need it

    source = pa.BufferReader(pa.py_buffer(data))
    if data[: len(_FILE)].tobytes() == _FILE:
        table = pa.ipc.open_file(source)
        yield from (table.get_batch(i) for i in range(table.num_record_batches))
        return
    yield from pa.ipc.open_stream(source)
    end = source.tell()
    if end < len(data) or not np.array_equal(data[-len(_END) :], _END):
        raise broken(file, f"its stream has no end mark, or goes on behind it, at byte {end} of {len(data)}")


def _arrays(file: Path, data: NDArray[np.uint8], lists: Lists, heads: IntArray, kept: IntArray) -> Arrays:
    """Return where lists lie in the bytes of the file, without their padding."""
    dtype = np.dtype(str(lists.values.type))
    buffer, at = lists.values.buffers()[-1], 0
    if len(lists.values):
        at = buffer.address - data.ctypes.data
        if at < 0 or at + buffer.size > len(data):
            raise StoreError(
                f"{file} is compressed inside, as Feather is by default, and cannot be mapped: write it without "
                "compression, or make a store of it with `fastcollate prepare`"
            )
    starts = lists.offsets[:-1] + lists.values.offset + heads
    return Arrays(dtype, at + starts * dtype.itemsize, kept)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a file that it cannot read into our own error."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        yield
    except (pa.ArrowException, OSError, NotImplementedError, ValueError, KeyError) as error:
        raise broken(file, " ".join(str(error).split())[:200]) from error
