"""Files, URLs and standard input as sources: opened, told apart, and read by the room of formats."""

from __future__ import annotations

import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from fastcollate.errors import InputError, StorageError
from fastcollate.sources.chunk import Chunk, Origin, Rejected, unreadable
from fastcollate.sources.formats import columnar
from fastcollate.sources.formats.delimited import delimited
from fastcollate.sources.formats.json_array import json_array
from fastcollate.sources.formats.json_lines import json_lines
from fastcollate.sources.formats.not_records import JSON_RULE, not_records
from fastcollate.sources.formats.plain_text import text_documents, text_lines
from fastcollate.sources.opening import LinesBefore, Opened, line_parts, spooled
from fastcollate.sources.sniff import TEXT_BETWEEN, ending, names_compressed
from fastcollate.sources.source import WHOLE, Part
from fastcollate.storage.entry import Entry
from fastcollate.storage.http import downloaded
from fastcollate.storage.storage import is_object_url, open_object, open_storage, parent_and_name

__all__ = ["FileSource"]

_EDGE_BYTES = 1 << 16
_DENSER = 4  # about so many bytes of text are in one of a compressed file


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of records, here or behind a URL, or standard input.

    Args:
        name: The path or the URL; what the file holds decides how it is read.
        format: The format that the caller names; None is told by the content and the name.
        piped: True reads standard input, which `name` is only a name for.
        storage_options: Settings of the object store, where `name` is the URL of an object; see `open_storage`.

    >>> FileSource("data.jsonl").name
    'data.jsonl'
    """

    name: str
    format: str | None = None
    piped: bool = False
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)  # may hold a secret

    def fingerprint(self) -> str | None:
        """Return what changes when the file does: of its size, its time and its first and last bytes.

        Of an object its size and its ETag count.

        Raises:
            InputError: The file is unreadable.
            StorageError: The object is not there, or its store cannot be reached.
        """
        if self.piped:
            return None
        try:
            with self._placed() as path:
                if path is None:
                    return self._fingerprint_of_object()
                known = path.stat()
                if not stat.S_ISREG(known.st_mode):
                    return None
                with path.open("rb") as file:
                    found = sha256(f"{self.format} {known.st_size} {known.st_mtime_ns} ".encode())
                    found.update(file.read(_EDGE_BYTES))
                    file.seek(max(known.st_size - _EDGE_BYTES, 0))
                    found.update(file.read(_EDGE_BYTES))
                    return found.hexdigest()
        except OSError as error:
            raise unreadable(self.name, error) from error

    def size(self) -> int:
        """Return the size of the file; of a compressed one about what is in it.

        Raises:
            InputError: The file is unreadable.
            StorageError: The object is not there, or its store cannot be reached.
        """
        if self.piped:
            return 0
        try:
            with self._placed() as path:
                found = self._look_up().size if path is None else path.stat().st_size
                return found * (_DENSER if names_compressed(self.name) else 1)
        except OSError as error:
            raise unreadable(self.name, error) from error

    def _fingerprint_of_object(self) -> str:
        found = self._look_up()
        return sha256(f"{self.format} {found.size} {found.version}".encode()).hexdigest()

    def _look_up(self) -> Entry:
        parent, name = parent_and_name(self.name)
        found = open_storage(parent, self.storage_options).look_up(name)
        if found is None:
            raise StorageError(f"{self.name}: there is no such object any longer: check the name")
        return found

    def parts(self, size: int) -> list[Part]:
        """Return parts of about `size` bytes: whole lines, row groups or record batches, or the whole.

        Raises:
            InputError: The file is unreadable, damaged, or of a kind that is not read.
            StorageError: The object is not there, or its store cannot be reached.
        """
        try:
            with self._placed() as path:
                if self.piped or not (path is None or path.is_file()):
                    return [WHOLE]
                with self._lent(path) as file:
                    opened = Opened.of(file, self.name, self.format)
                    if not opened.plain:
                        return [WHOLE]
                    if opened.kind in ("parquet", "arrow"):
                        cut = columnar.parquet_parts if opened.kind == "parquet" else columnar.arrow_file_parts
                        return cut(path or self._lent, self.name, size)
                    of_lines = opened.kind == "lines" or (opened.kind == "text" and self.format in (None, "text"))
                    return line_parts(file, size) if of_lines else [WHOLE]
        except OSError as error:
            raise unreadable(self.name, error) from error

    def chunks(self, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
        """Yield the records of a part, up to `size` rows at a time.

        Raises:
            InputError: The file is unreadable, damaged, not UTF-8, of a kind that is not read or without records;
                or a row holds no record, and `skip` is False.
            LimitError: The file, or a record, is too large.
            StorageError: The object is not there, or its store cannot be reached.
        """
        records, rejected = 0, list[Rejected]()
        counts = Counter[str]()
        try:
            for chunk in self._chunks(part, size=size, skip=skip):
                records += len(chunk.records)
                counts.update(row.reason for row in chunk.rejected)
                rejected += chunk.rejected[: 1 - len(rejected)]
                yield chunk
        except OSError as error:
            raise unreadable(self.name, error) from error
        if part == WHOLE and not records:
            raise self._no_records(counts, rejected)

    def _chunks(self, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:
        with self._placed() as path, self._lent(path) as file:
            opened = Opened.of(file, self.name, self.format)
            if opened.kind in ("parquet", "arrow"):
                read = columnar.parquet_file if opened.kind == "parquet" else columnar.arrow_file
                with self._seekable(opened, path) as whole:
                    yield from read(whole, self.name, part, size=size, skip=skip)
                return
            if opened.kind == "arrow stream":
                yield from columnar.arrow_stream(opened.stream.as_file(), self.name, size=size, skip=skip)
                return
            before: int | LinesBefore = 0
            if part != WHOLE:
                opened = opened.within(file, part)
                before = LinesBefore(partial(self._lent, path), part.start) if part.start else 0
            only = part == WHOLE and opened.kind == "lines"
            for chunk in self._text_chunks(opened, before, size=size, skip=skip):
                if only and len(chunk.records) == 1 and not chunk.rows[0] and not opened.stream.peek(1):
                    not_records(chunk.records[0], chunk.origin)
                only = False
                yield chunk

    def _text_chunks(self, opened: Opened, before: int | LinesBefore, *, size: int, skip: bool) -> Iterator[Chunk]:
        stream, start, wanted = opened.stream, opened.start, self.format or ""
        of_lines = Origin(self.name, "line", before)
        if opened.kind == "lines":
            return json_lines(stream, of_lines, start, size=size, skip=skip)
        if opened.kind == "array":
            return json_array(stream, Origin(self.name), start, size=size, skip=skip)
        if opened.kind in ("csv", "tsv"):
            delimiter = "\t" if opened.kind == "tsv" else ","
            return delimited(stream, of_lines, delimiter, size=size, skip=skip)
        if wanted == "text-file":
            return text_documents(stream, Origin(self.name), start, None, size=size, skip=skip)
        if wanted.startswith(TEXT_BETWEEN):
            mark = wanted.removeprefix(TEXT_BETWEEN).replace("\\n", "\n").replace("\\t", "\t")
            return text_documents(stream, Origin(self.name), start, mark, size=size, skip=skip)
        return text_lines(stream, of_lines, start, size=size, skip=skip)

    def _seekable(self, opened: Opened, path: Path | None) -> AbstractContextManager[columnar.TableFile]:
        """Lend the table that a file is, as its readers need it: from any place of it they read."""
        if not opened.plain or self.piped or not (path is None or path.is_file()):
            return spooled(opened.stream)
        return nullcontext(path or self._lent)

    def _placed(self) -> AbstractContextManager[Path | None]:
        """Lend the file's path on this machine; None where it is an object."""
        if is_object_url(self.name):
            return nullcontext(None)
        return downloaded(self.name) if "://" in self.name else nullcontext(Path(self.name))

    def _lent(self, path: Path | None = None) -> AbstractContextManager[BinaryIO]:
        """Lend the file's bytes, from the first on."""
        if self.piped:
            return nullcontext(sys.stdin.buffer)
        return open_object(self.name, self.storage_options) if path is None else path.open("rb")

    def _no_records(self, counts: Counter[str], rejected: list[Rejected]) -> InputError:
        counted = ", ".join(f"{count} rejected as {reason}" for reason, count in sorted(counts.items()))
        is_json = (self.format or ending(self.name) or "json") in ("json", "jsonl")
        rule = JSON_RULE if is_json else "give a file that has some, or leave it out"
        first = f"; the first: {rejected[0].message}" if rejected else f": {rule}"
        message = f"{self.name}: holds no records ({counted or 'it is empty'}){first}"
        return InputError(message, path=self.name, reason="no_records")
