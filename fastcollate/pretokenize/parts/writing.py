"""A task done: its records as shards, and what there is to say of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fastcollate.pretokenize.parts.effort import Effort, Timed, this_process
from fastcollate.pretokenize.parts.tasks import Reading, Task
from fastcollate.pretokenize.places.drafts import Drafts
from fastcollate.pretokenize.recipe import Recipe
from fastcollate.pretokenize.telling import count_together
from fastcollate.sources.chunk import Chunk, Rejected
from fastcollate.storage.local import storage_errors
from fastcollate.store.rejected_lines import add_lines
from fastcollate.store.shards.entries import Layout, ShardEntry
from fastcollate.store.shards_writer import ShardsWriter, Written
from fastcollate.tokenizers.tokenizer import TokenizerInfo

__all__ = ["Encoding", "Finished", "Step", "Target", "TaskWork"]


class Step(NamedTuple):
    """A piece of work that was done: so many records were kept, of so many tokens, and so many rejected."""

    records: int
    tokens: int
    rejected: int
    effort: Effort


@dataclass(frozen=True)
class Finished:
    """What became of a task, whose files lie in the output.

    Attributes:
        number: The number of the task.
        stem: What the names of its files begin with until the store is whole.
        keys: What it was made of.
        rows: The rows that were read, also those without a record.
        read: The records that were read.
        written: The shards.
        rejected: How many records were left out, by reason.
        noted: How many were kept and are told of, by what is told of them.
        first: What was wrong with the first that was left out; "" if none was.
        rejected_bytes: The size of the file of rejected records; 0 if there is none.
    """

    number: int
    stem: str
    keys: list[str]
    rows: int
    read: int
    written: Written
    rejected: dict[str, int]
    noted: dict[str, int]
    first: str
    rejected_bytes: int

    @property
    def rejected_file(self) -> str:
        """The name of the task's own file of rejected records."""
        return _rejected_file(self.stem)

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each of its files, by name."""
        rejected = {self.rejected_file: self.rejected_bytes} if self.rejected_bytes else {}
        return {file.name: file.bytes for file in self.written.files} | rejected


def _rejected_file(stem: str) -> str:
    return f"{stem}.rejected.jsonl"


@dataclass(frozen=True)
class Target:
    """Where the shards of tasks go, and how they are made.

    Args:
        drafts: Where they are written.
        encoding: What made the ids.
        layout: The kind of files.
        records_per_shard: The most records of a shard.
        labels: What `rejected.jsonl` calls each file, by its path.
    """

    drafts: Drafts
    encoding: TokenizerInfo
    layout: Layout
    records_per_shard: int
    labels: Mapping[str, str]

    def write(self, task: Task, encoded: Iterable[Timed], reading: Reading) -> Iterator[Step | Effort | Finished]:
        """Write what a task has become, and yield each step, what its end took, then what it was all together.

        Raises:
            StorageError: The disk failed, or the object store.
        """
        stem = f"task-{task.number:05d}" + (f"-{self.drafts.mark}" if self.drafts.mark else "")
        noted = Counter[str]()
        read = 0.0
        with self.drafts.bench() as bench:
            writer = ShardsWriter(bench.directory, self.encoding, self.layout, self.records_per_shard, stem)
            rejected = _RejectedFile(bench.directory / _rejected_file(stem), self.labels)
            handed = 0
            for chunk, process, cpu, encoding in encoded:
                begun = time.perf_counter()
                writer.append(chunk.tokens, chunk.spans, chunk.source_rows, chunk.columns)
                rejected.add(chunk.path, chunk.rejected)
                count_together(noted, chunk.noted)
                bench.hand_over(_files(writer.shards[handed:]))
                handed = len(writer.shards)
                writing = time.perf_counter() - begun
                effort = Effort(task.number, process, cpu, reading.seconds - read, encoding, writing)
                read = reading.seconds
                yield Step(len(chunk.source_rows), len(chunk.tokens.values), len(chunk.rejected), effort)
            begun = time.perf_counter()
            written = writer.finish()
            bench.hand_over(_files(writer.shards[handed:]))
            size = rejected.finish()
            bench.hand_over([_rejected_file(stem)] if size else [])
            writing = time.perf_counter() - begun
        yield Effort(task.number, this_process(), time.process_time(), reading.seconds - read, 0.0, writing)
        yield Finished(
            number=task.number,
            stem=stem,
            keys=list(task.keys),
            rows=reading.rows,
            read=reading.records,
            written=written,
            rejected=dict(rejected.counts),
            noted=dict(noted),
            first=rejected.first,
            rejected_bytes=size,
        )


def _files(shards: Sequence[ShardEntry]) -> list[str]:
    return [file.name for shard in shards for file in shard.files]


class _RejectedFile:
    """The file of a task's rejected records, which is made once there is one.

    Attributes:
        counts: How many there were, by reason.
        first: What was wrong with the first.
    """

    def __init__(self, path: Path, labels: Mapping[str, str]) -> None:
        self.counts = Counter[str]()
        self.first = ""
        self._path = path
        self._labels = labels
        with storage_errors(path):
            path.unlink(missing_ok=True)  # of one who died at this task

    def add(self, file: str | None, rejected: list[Rejected]) -> None:
        """Add records of one file."""
        if not rejected:
            return
        self.first = self.first or rejected[0].message
        self.counts.update(line.reason for line in rejected)
        label = None if file is None else self._labels.get(file, file)
        add_lines(self._path, ({"file": label, **line._asdict()} for line in rejected))

    def finish(self) -> int:
        """Return the size of the file; 0 without one."""
        if not self.counts:
            return 0
        with storage_errors(self._path):
            return self._path.stat().st_size


@dataclass(frozen=True)
class TaskWork:
    """What a worker does with a task: it reads, encodes and writes it.

    Args:
        recipe: What becomes of records.
        target: Where it goes.
        alone: True if there is but one source.
    """

    recipe: Recipe
    target: Target
    alone: bool

    def __call__(self, task: Task) -> Iterator[Step | Effort | Finished]:
        """Do a task."""
        reading = Reading(task.pieces, skip=self.recipe.on_error == "skip", alone=self.alone)
        encoded = chain.from_iterable(map(Encoding(self.recipe), reading.chunks()))
        yield from self.target.write(task, encoded, reading)


@dataclass(frozen=True)
class Encoding:
    """What a worker does with a chunk that another reads: it encodes it.

    Args:
        recipe: What becomes of records.
    """

    recipe: Recipe

    def __call__(self, chunk: Chunk) -> Iterator[Timed]:
        """Encode a chunk."""
        begun = time.perf_counter()
        yield Timed.since(begun, self.recipe.encode(chunk))
