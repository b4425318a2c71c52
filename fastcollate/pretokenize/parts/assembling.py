"""From finished tasks to a store: the numbers of shards and rows, sums, and one file of rejected records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastcollate.errors import StoreWriteError
from fastcollate.pretokenize.parts.tasks import Task
from fastcollate.pretokenize.parts.writing import Finished, Target, draft_of_rejected
from fastcollate.pretokenize.telling import count_together
from fastcollate.sources.source import WHOLE
from fastcollate.storage.local import replacing, storage_error
from fastcollate.store.manifest import REJECTED, Manifest
from fastcollate.store.rejected_lines import json_line
from fastcollate.store.shards.entries import ShardEntry
from fastcollate.store.shards.shard_arrays import USUAL, ColumnEntry
from fastcollate.store.shards_writer import dtype_of

__all__ = ["final_shards", "join_rejected", "manifest_of"]


def final_shards(done: Sequence[Finished], first: int) -> list[tuple[ShardEntry, ShardEntry]]:
    """Return each shard of the tasks twice: as it was written, and under its number in the store, from `first` on.

    Rows count on from task to task.
    """
    pairs: list[tuple[ShardEntry, ShardEntry]] = []
    row_base = 0
    for entry in done:
        for shard in entry.written.shards:
            pairs.append((shard, shard.renumbered(first + len(pairs), rows=row_base)))
        row_base += entry.rows
    return pairs


def manifest_of(done: Sequence[Finished], target: Target, template: str) -> Manifest:
    """Return the manifest of a new store that the tasks make.

    Raises:
        StoreWriteError: What was kept as a column is another kind of thing in one task than in another.
    """
    columns: dict[str, ColumnEntry] = {}
    lengths, rejected, noted = Counter[int](), Counter[str](), Counter[str]()
    for entry in done:
        _join_columns(columns, entry)
        for length, count in entry.written.lengths:
            lengths[length] += count
        rejected.update(entry.rejected)
        count_together(noted, entry.noted)
    return Manifest(
        encoding=target.encoding,
        template=template,
        dtype=str(dtype_of(target.encoding)),
        layout=target.layout,
        has_spans=any(entry.written.has_spans for entry in done),
        columns=dict(sorted(columns.items())),
        shards=[final for _, final in final_shards(done, 0)],
        lengths=[[length, lengths[length]] for length in sorted(lengths)],
        rejected=dict(rejected),
        noted=dict(noted),
    )


def _join_columns(columns: dict[str, ColumnEntry], entry: Finished) -> None:
    found = entry.written.columns
    for name in found.keys() & columns.keys():
        if found[name] != columns[name]:
            raise StoreWriteError(f"column {name!r} is {found[name]} in one part and {columns[name]} in another")
    if columns and entry.written.shards and (odd := sorted((found.keys() ^ columns.keys()) - USUAL.keys())):
        raise StoreWriteError(f"column {odd[0]!r} is in some parts and not in others")
    columns |= found


def join_rejected(path: Path, tasks: Sequence[Task], done: Sequence[Finished], before: int) -> None:
    """Write `rejected.jsonl`: its first `before` bytes, then the records that each task has left out.

    A task knows the rows of its own part of a file, and the store those of the file.

    Raises:
        StorageError: The disk failed.
    """
    if not any(entry.rejected_bytes for entry in done):
        return
    try:
        with replacing(path / REJECTED) as joined:
            if before:
                with (path / REJECTED).open("rb") as old:
                    joined.write(old.read(before))
            for row_base, entry in zip(_rows_before(tasks, done), done, strict=True):
                if entry.rejected_bytes:
                    with (path / draft_of_rejected(entry.number)).open("rb") as lines:
                        joined.writelines(_counted_on(line, row_base) for line in lines)
    except OSError as error:
        raise storage_error(path / REJECTED, error) from error


def _counted_on(line: bytes, row_base: int) -> bytes:
    content = json.loads(line) if row_base else {}
    if content.get("row", -1) < 0:
        return line
    content["row"] += row_base
    return (json_line(content) + "\n").encode("ascii")


def _rows_before(tasks: Sequence[Task], done: Sequence[Finished]) -> Iterator[int]:
    """Yield the rows that the file of each task has before it, where the task is a part of a file."""
    rows, last = 0, None
    for task, entry in zip(tasks, done, strict=True):
        source, part, _ = task.pieces[0]
        if source is not last or part == WHOLE:
            rows = 0
        yield rows
        rows, last = rows + entry.rows, source
