"""Records that a program holds: iterables of dicts, tables, and datasets of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Chunk, Origin
from fastcollate.sources.formats.columnar import table_chunks
from fastcollate.sources.source import WHOLE, Part, Source

__all__ = ["GivenRecords", "GivenTable", "given"]

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True, slots=True)
class GivenRecords:
    """Records that the caller holds or makes; a generator is read as it goes.

    >>> [chunk.records for chunk in GivenRecords([{"text": "a"}]).chunks(WHOLE, size=8, skip=False)]
    [[{'text': 'a'}]]
    """

    values: Iterable[object]
    name: str = "the given iterable"

    def fingerprint(self) -> None:
        """Return None: nothing tells cheaply whether the records are the same again."""

    def size(self) -> int:
        """Return 0: nobody knows."""
        return 0

    def parts(self, size: int) -> list[Part]:  # noqa: ARG002  # the protocol's
        """Return the whole."""
        return [WHOLE]

    def chunks(self, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:  # noqa: ARG002  # there is only one
        """Yield the records, up to `size` at a time."""
        origin, values, first = Origin(None), iter(self.values), 0
        size = min(size, _ROWS_AT_A_TIME)  # how large they are nobody knows
        for batch in iter(lambda: list(islice(values, size)), []):
            items = [origin.record(row, value) for row, value in enumerate(batch, first)]
            yield Chunk.of(origin, first, items, skip=skip)
            first += len(batch)


@dataclass(frozen=True, slots=True)
class GivenTable:
    """A table, or anything that gives record batches as Arrow does: pyarrow's, pandas', polars', a dataset's."""

    table: Any
    name: str = "the given table"

    def fingerprint(self) -> str | None:
        """Return the fingerprint that a dataset of Hugging Face has; None for tables."""
        found = getattr(self.table, "_fingerprint", None)
        return found if isinstance(found, str) else None

    def size(self) -> int:
        """Return 0: nobody knows."""
        return 0

    def parts(self, size: int) -> list[Part]:  # noqa: ARG002  # the protocol's
        """Return the whole."""
        return [WHOLE]

    def chunks(self, part: Part, *, size: int, skip: bool) -> Iterator[Chunk]:  # noqa: ARG002  # there is only one
        """Yield the rows, up to `size` at a time.

        Raises:
            InputError: The table cannot be read as Arrow's.
        """
        import pyarrow as pa  # noqa: PLC0415  # only for those who need it

        try:
            reader = _reader(self.table)
            yield from table_chunks(reader, Origin(None), reader.schema, size=size, skip=skip)
        except pa.ArrowException as error:
            why = " ".join(str(error).split())[:200]
            message = (
                f"the given {type(self.table).__name__} cannot be read as a table of Arrow ({why}): give dicts"
            )
            raise InputError(message, reason="damaged") from error


def given(source: Any) -> Source | None:
    """Return the source of what a program holds, or None where it is no table and no dataset.

    Raises:
        InputError: It is a dictionary of datasets.

    >>> import pyarrow as pa
    >>> given(pa.table({"text": ["a"]})).name
    'the given table'
    """
    kind = type(source)
    if kind.__module__.split(".")[0] == "datasets":
        if isinstance(source, dict):
            raise InputError(
                f"the source is a {kind.__name__} of the splits {', '.join(map(str, source))}: give one of these, "
                f"such as dataset[{next(iter(source), 'train')!r}]",
                reason="bad_source",
            )
        return GivenTable(source) if hasattr(source, "data") else GivenRecords(source)
    if hasattr(source, "__arrow_c_stream__"):
        return GivenTable(source)
    return None


def _reader(table: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if type(table).__module__.split(".")[0] == "datasets":
        arrow = table.with_format("arrow")
        batches = (batch for some in arrow.iter(_ROWS_AT_A_TIME) for batch in some.combine_chunks().to_batches())
        return pa.RecordBatchReader.from_batches(table.features.arrow_schema, batches)
    return pa.RecordBatchReader.from_stream(table)
