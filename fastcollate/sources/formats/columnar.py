"""Parquet, and Arrow in its file and stream formats (Feather is the first): columns as records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fastcollate.errors import InputError
from fastcollate.sources.chunk import CHUNK_BYTES, Bad, Chunk, Item, Origin
from fastcollate.sources.source import WHOLE, Part

__all__ = [
    "RowsBefore",
    "TableFile",
    "arrow_file",
    "arrow_file_parts",
    "arrow_stream",
    "parquet_file",
    "parquet_parts",
    "table_chunks",
]


TableFile = Path | Callable[[], AbstractContextManager[BinaryIO]]


def parquet_file(file: TableFile, name: str, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of some row groups of a Parquet file, up to `size` at a time.

    Args:
        file: The file: a path, or a function that lends a seekable stream.
        name: What messages call it.
        part: The row groups.
        size: The most rows of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: The file is damaged or encrypted, or two columns have one name.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  # only for those who need it

    with _told(name, "Parquet"), _opened(file) as opened, pq.ParquetFile(opened) as table:
        groups = range(table.num_row_groups)[part.start : part.stop]
        before = sum(table.metadata.row_group(i).num_rows for i in range(part.start))
        known = [table.metadata.row_group(i) for i in groups]
        widest = max((group.total_byte_size // max(group.num_rows, 1) for group in known), default=0)
        size = min(size, CHUNK_BYTES // max(widest, 1) + 1)
        batches = table.iter_batches(batch_size=size, row_groups=list(groups))
        yield from table_chunks(batches, Origin(name, before=before), table.schema_arrow, size=size, skip=skip)


def parquet_parts(file: TableFile, name: str, size: int) -> list[Part]:
    """Return the parts of a Parquet file: row groups, together while they have less than `size` bytes.

    Raises:
        InputError: The file is damaged or encrypted.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    with _told(name, "Parquet"), _opened(file) as opened, pq.ParquetFile(opened) as table:
        return _together([table.metadata.row_group(i).total_byte_size for i in range(table.num_row_groups)], size)


def arrow_file(file: TableFile, name: str, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
    """Yield the rows of some record batches of an Arrow file, up to `size` at a time.

    Args:
        file: The file: a path, or a function that lends a seekable stream.
        name: What messages call it.
        part: The record batches.
        size: The most rows of a chunk.
        skip: As `Chunk.of`.

    Raises:
        InputError: The file is damaged, or two columns have one name.
    """
    import pyarrow as pa  # noqa: PLC0415

    with _told(name, "Arrow"), _opened(file, mapped=True) as opened, pa.ipc.open_file(opened) as table:
        numbers = range(table.num_record_batches)[part.start : part.stop]
        before = RowsBefore(file, part.start) if part.start else 0  # counting reads what is not mapped
        batches = (table.get_batch(i) for i in numbers)
        yield from table_chunks(batches, Origin(name, before=before), table.schema, size=size, skip=skip)


def arrow_file_parts(file: TableFile, name: str, size: int) -> list[Part]:
    """Return the parts of an Arrow file: record batches, together while they have less than `size` bytes.

    Raises:
        InputError: The file is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415

    with _told(name, "Arrow"), _opened(file, mapped=True) as opened, pa.ipc.open_file(opened) as table:
        return _together([table.get_batch(i).nbytes for i in range(table.num_record_batches)], size)


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
    """Yield the rows of record batches as records, up to `size` and about 4 MiB at a time.

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
        columns = [_checked(column, name, origin) for name, column in zip(names, batch.columns, strict=True)]
        most = min(size, CHUNK_BYTES * batch.num_rows // max(batch.nbytes, 1) + 1)
        for start in range(0, batch.num_rows, most):
            some = [column.slice(start, most) for column in columns]
            items = _records(some, names, origin, first) if some else [{} for _ in range(batch.num_rows)]
            yield Chunk.of(origin, first, items, skip=skip)
            first += len(items)


def _checked(column: Any, name: str, origin: Origin) -> Any:
    """A column that is safe to read, with its dictionary applied; text that is not all UTF-8 as bytes."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        wide = pa.types.is_large_string(column.type)
        if "UTF8" not in str(error):
            raise
        if not (wide or pa.types.is_string(column.type)):
            message = (
                f'{origin.path or "the table"}: the column "{name}" holds text that is not UTF-8: write it again'
            )
            raise InputError(message, path=origin.path, reason="not_utf8") from error
        column = column.view(pa.large_binary() if wide else pa.binary())
        column.validate(full=True)
        return _Undecoded(column)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


@dataclass(frozen=True, slots=True)
class _Undecoded:
    """A column of text in which something is not UTF-8."""

    column: Any

    def slice(self, start: int, size: int) -> _Undecoded:
        return _Undecoded(self.column.slice(start, size))

    def to_pylist(self) -> list[str | bytes | None]:
        """The values; those that are not UTF-8 as bytes."""
        return [self._decoded(value) for value in self.column.to_pylist()]

    def _decoded(self, value: bytes | None) -> str | bytes | None:
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            return value


def _records(columns: list[Any], names: list[str], origin: Origin, first: int) -> list[Item]:
    values = [column.to_pylist() for column in columns]
    items: list[Item] = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    for name, column, cells in zip(names, columns, values, strict=True):
        if isinstance(column, _Undecoded):
            message = f'the column "{name}" is not UTF-8: write it as text, or as binary'
            for i in [i for i, cell in enumerate(cells) if isinstance(cell, bytes)]:
                items[i] = Bad(origin.error(first + i, message, "not_utf8"), cells[i])
    return items


@dataclass(frozen=True, slots=True)
class RowsBefore:
    """How many rows an Arrow file has before a record batch, counted when somebody asks: for a message."""

    file: TableFile
    stop: int

    def __call__(self) -> int:
        """Return the number."""
        import pyarrow as pa  # noqa: PLC0415

        with _opened(self.file, mapped=True) as opened, pa.ipc.open_file(opened) as table:
            return sum(table.get_batch(i).num_rows for i in range(self.stop))


@contextmanager
def _opened(file: TableFile, *, mapped: bool = False) -> Iterator[Any]:
    """Lend what pyarrow reads: a path is opened by itself."""
    import pyarrow as pa  # noqa: PLC0415

    if not isinstance(file, Path):
        with file() as stream:
            yield stream
    elif mapped:
        with pa.memory_map(str(file)) as pages:
            yield pages
    else:
        yield file


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
