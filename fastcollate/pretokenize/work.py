"""All there is to do for a store, and who does it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from fastcollate.arguments import check_choice, check_counts
from fastcollate.errors import InputError, StorageError
from fastcollate.pretokenize.engines.engine import Engine, ThisProcess, in_order
from fastcollate.pretokenize.engines.processes import Processes
from fastcollate.pretokenize.engines.ray_cluster import RayCluster, library
from fastcollate.pretokenize.parts.effort import Effort
from fastcollate.pretokenize.parts.tasks import Reading, cut_into_tasks
from fastcollate.pretokenize.parts.writing import Encoding, Finished, Step, Target, TaskWork
from fastcollate.pretokenize.places.drafts import FolderDrafts
from fastcollate.pretokenize.recipe import Recipe
from fastcollate.pretokenize.telling import say
from fastcollate.sources.chunk import Chunk
from fastcollate.sources.paths import labels
from fastcollate.sources.resolve import Resolved

__all__ = ["EngineName", "Work", "Workers"]

EngineName = Literal["local", "ray"]

_LOOKED_AT = 1024  # records that tell the template
_ALONE_SECONDS: float | None = 2.0  # that this process works before it starts others
_WINDOW = 8  # tasks a worker that may be done before an older one is


class Workers:
    """How many processes work, where, and how long one may be silent.

    Args:
        count: The most processes; None is as many as there are cores.
        timeout: The seconds that a worker may give no sign.
        place: Where they work: `"local"` is this machine, `"ray"` a cluster.

    Attributes:
        shared: Whether they may be on other machines, which must see the same files.
        count: The most processes; 0 is as many as a cluster has room for.

    Raises:
        InputError: It is no count from 1, or no such place.
        WorkerError: Ray is not installed.
    """

    def __init__(self, count: int | None, timeout: int, place: EngineName) -> None:
        check_choice("engine", place, get_args(EngineName))
        self.shared = place == "ray"
        if self.shared:
            library()
        self.timeout, checked = check_counts(timeout=(timeout, 1), workers=(1 if count is None else count, 1))
        self._given = count is not None
        self.count = checked if count is not None else 0 if self.shared else _cores()

    def engine(self, recipe: Recipe, window: int, sizes: Sequence[int]) -> Engine:
        """Return what runs tasks.

        Workers do not run the caller's script, so what it defines itself stays in this process.

        Args:
            recipe: What is to be done.
            window: How many tasks a worker may be begun from the oldest open one on.
            sizes: How large each is; empty where nobody knows.

        Raises:
            InputError: The script defines something itself, and workers were asked for.
        """
        for part, what in ((recipe.template, "template"), (recipe.tokenizer, "encoding")):
            if type(part).__module__ != "__main__" or (self.count == 1 and not self.shared):
                continue
            if not (self.shared or self._given):
                return ThisProcess()
            who, fix = f"workers={self.count} processes", "workers=1"
            if self.shared:
                who, fix = "the workers of engine='ray'", "engine='local'"
            raise InputError(
                f"the {what} is a {type(part).__name__}, which the script itself defines, and {who} do not run "
                f"it: define it in a module that they can import, or set {fix}"
            )
        if self.shared:
            return RayCluster(self.count or None, self.timeout, window)
        if self.count == 1 or sys.platform == "win32":  # where no worker can inherit a descriptor
            return ThisProcess()
        return Processes(self.count, self.timeout, _ALONE_SECONDS, window=window * self.count, sizes=sizes)


def _cores() -> int:
    """Return how many this process may use; not every system can tell them from the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Work:
    """The tasks of a source, and the reading of it.

    Args:
        found: What the caller's source stands for.
        workers: Who works.
        skip: True passes over bad records.

    Attributes:
        tasks: All tasks. One that is alone is read here, and all workers encode its chunks; of several each is one
            worker's.
        labels: What each file is called where machines are no matter.
        cores: How many processes may work at once; 0 is as many as a cluster has room for.

    Raises:
        InputError: A source is unreadable.
    """

    def __init__(self, found: Resolved, workers: Workers, *, skip: bool) -> None:
        say(found.notes)
        self.labels = labels(found.found)
        self.tasks = cut_into_tasks(found.sources, self.labels)
        self.cores = workers.count
        self._workers = workers
        self._alone = len(found.sources) == 1
        self._reading = Reading(
            (piece for task in self.tasks for piece in task.pieces), skip=skip, alone=self._alone
        )
        self._chunks: Iterable[Chunk] = ()

    def first_records(self) -> list[dict[str, Any]]:
        """Return the first records, up to 1,024.

        Raises:
            InputError: They cannot be read, or hold no record.
        """
        read: list[Chunk] = []
        chunks = self._reading.chunks()
        if len(self.tasks) == 1:  # of several each is read by whoever does it
            self._chunks = chain(read, chunks)
        for chunk in chunks:
            read.append(chunk)
            if chunk.records:
                return chunk.records[:_LOOKED_AT]
        return []

    def steps(
        self, recipe: Recipe, target: Target, finished: Collection[int]
    ) -> Iterator[Step | Effort | Finished]:
        """Do what is not finished yet, and yield what was done and what it took.

        Args:
            recipe: What becomes of records.
            target: Where they go.
            finished: The tasks that are done already.

        Raises:
            InputError: A record is bad, or a source.
            EncodingError: A record cannot be encoded.
            WorkerError: A worker died or is stuck.
            StorageError: The disk failed.
        """
        left = [task for task in self.tasks if task.number not in finished]
        if len(self.tasks) == 1 and left:
            engine = self._workers.engine(recipe, 2, ())
            encoded = in_order(engine.run(Encoding(recipe), self._chunks))
            yield from target.write(left[0], encoded, self._reading)
            return
        folder = target.drafts if self._workers.shared and isinstance(target.drafts, FolderDrafts) else None
        if folder is not None:
            target = replace(target, drafts=replace(folder, shared=True))
        engine = self._workers.engine(recipe, _WINDOW, [task.bytes for task in left])
        for _, item in engine.run(TaskWork(recipe, target, self._alone), left):
            if folder is not None and isinstance(item, Finished):
                _check_there(item, folder.directory)
            yield item


def _check_there(finished: Finished, directory: Path) -> None:
    """Raise if what a worker has written into a folder is not to be seen here."""
    for file in finished.written.files:
        if not (directory / file.name).exists():
            raise StorageError(
                f"{directory / file.name}: a worker on another node has written it, and it is not here: with "
                "engine='ray' (--engine ray) the output must be in a folder that all nodes share"
            )
