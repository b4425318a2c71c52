"""Parquet, and Arrow in its file and stream formats (Feather is the first): columns as records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Bad, Chunk, Item, Origin
from fastcollate.sources.source import WHOLE, Part

__all__ = ["arrow_file", "arrow_file_parts", "arrow_stream", "parquet_file", "parquet_parts", "table_chunks"]


def parquet_file(path: Path, name: str, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of some row groups of a Parquet file, up to `size` at a time.

    Args:
        path: The file.
        name: What messages call it.
        part: The row groups.
        size: The most rows of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: The file is damaged or encrypted, or two columns have one name.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  # only for those who need it

    with _told(name, "Parquet"), pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)[part.start : part.stop]
        before = sum(file.metadata.row_group(i).num_rows for i in range(part.start))
        batches = file.iter_batches(batch_size=size, row_groups=list(groups))
        yield from table_chunks(batches, Origin(name, before=before), file.schema_arrow, size=size, skip=skip)


def parquet_parts(path: Path, name: str, size: int) -> list[Part]:
    """Return the parts of a Parquet file: row groups, together while they have less than `size` bytes.

    Raises:
        InputError: The file is damaged or encrypted.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    with _told(name, "Parquet"), pq.ParquetFile(path) as file:
        return _together([file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)], size)


def arrow_file(path: Path, name: str, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of some record batches of an Arrow file, up to `size` at a time.

    Args:
        path: The file.
        name: What messages call it.
        part: The record batches.
        size: The most rows of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: The file is damaged, or two columns have one name.
    """
    import pyarrow as pa  # noqa: PLC0415

    with _told(name, "Arrow"), pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
        numbers = range(file.num_record_batches)[part.start : part.stop]
        before = sum(file.get_batch(i).num_rows for i in range(part.start))
        batches = (file.get_batch(i) for i in numbers)
        yield from table_chunks(batches, Origin(name, before=before), file.schema, size=size, skip=skip)


def arrow_file_parts(path: Path, name: str, size: int) -> list[Part]:
    """Return the parts of an Arrow file: record batches, together while they have less than `size` bytes.

    Raises:
        InputError: The file is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415

    with _told(name, "Arrow"), pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
        return _together([file.get_batch(i).nbytes for i in range(file.num_record_batches)], size)


def arrow_stream(file: Any, name: str, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of an Arrow stream, up to `size` at a time.

    Args:
        file: The stream, as a file object.
        name: What messages call it.
        size: The most rows of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: The stream is damaged or cut short, or two columns have one name.
    """
    import pyarrow as pa  # noqa: PLC0415

    with _told(name, "Arrow"), pa.ipc.open_stream(file) as batches:
        yield from table_chunks(batches, Origin(name), batches.schema, size=size, skip=skip)


def table_chunks(batches: Any, origin: Origin, schema: Any, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of record batches as records, up to `size` at a time.

    A dictionary column gives its values, a null is None, and bytes stay bytes.

    Args:
        batches: The record batches.
        origin: What messages call the rows.
        schema: The schema of the batches.
        size: The most rows of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: Two columns have one name, or a string is not UTF-8 and `skip` is False.
    """
    names = schema.names
    if twice := next((name for name in names if names.count(name) > 1), None):
        message = f'{origin.path or "the table"}: two columns are named "{twice}": rename one of the two'
        raise InputError(message, path=origin.path, reason="duplicate_key")
    first = 0
    for batch in batches:
        for start in range(0, batch.num_rows, size):
            some = batch.slice(start, size)
            items = _records(some, names, origin, first)
            yield Chunk.of(origin, first, items, skip=skip)
            first += len(items)


def _records(batch: Any, names: list[str], origin: Origin, first: int) -> list[Item]:
    batch.validate()
    try:
        columns = [_values(column) for column in batch.columns]
    except UnicodeDecodeError:
        return [_record(batch.slice(i, 1), names, origin, first + i) for i in range(batch.num_rows)]
    if not columns:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _record(row: Any, names: list[str], origin: Origin, number: int) -> Item:
    values = {}
    for name, column in zip(names, row.columns, strict=True):
        try:
            (values[name],) = _values(column)
        except UnicodeDecodeError:
            message = f'the column "{name}" is not UTF-8: write it as text, or as binary'
            return Bad(origin.error(number, message, "not_utf8"))
    return values


def _values(column: Any) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415

    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    column.validate(full=not text)  # text is checked where it becomes strings
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values: list[Any] = column.to_pylist()
    return values


def _together(sizes: list[int], most: int) -> list[Part]:
    """Consecutive pieces as parts: each takes what still fits into `most` bytes, and one piece at least."""
    parts, start, held = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and held + size > most:
            parts.append(Part(start, i))
            start, held = i, 0
        held += size
    return [*parts, Part(start, len(sizes))] if sizes else [WHOLE]


@contextmanager
def _told(name: str, kind: str) -> Iterator[None]:
    """Turn what pyarrow raises for a file that it cannot read into our own error."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, NotImplementedError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:200]
        if "ncrypt" in why or "decrypt" in why:
            message = f"{name}: is an encrypted {kind} file: decrypt it first"
        else:
            message = f"{name}: is damaged, or no {kind} file ({why}): copy or write the file again"
        raise InputError(message, path=name, reason="damaged") from error
