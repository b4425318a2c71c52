"""The output of `prepare` until it is a store: tasks that are finished stay, whatever happens to the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from fastcollate.errors import InputError, StorageError, StoreWriteError
from fastcollate.pretokenize.parts.adding import OldStore
from fastcollate.pretokenize.parts.assembling import final_shards, join_rejected, manifest_of
from fastcollate.pretokenize.parts.journal import Begun, check_same, finished_in
from fastcollate.pretokenize.parts.tasks import Task
from fastcollate.pretokenize.parts.writing import Finished, Target
from fastcollate.pretokenize.places.place import Place, Renamed
from fastcollate.pretokenize.telling import say
from fastcollate.store.appending import keep_manifest
from fastcollate.store.manifest import MANIFEST, REJECTED, is_kept, is_store_file

__all__ = ["Unfinished"]

_ONTO = "append to"
"""The argument that is the fingerprint of the store which is added to."""


class Unfinished:
    """A place that becomes a store, one process's alone.

    With a journal, what is finished is kept when the block is left by an exception or by death, and is found there
    by the next that begins alike; all else is as it was before. Without one, nothing is kept.

    Args:
        place: The directory, or the prefix of an object store.
        arguments: What decides the bytes, by name.
        tasks: All tasks.
        old: The store that is added to; None begins a store.

    Attributes:
        url: What the place is called.
        finished: What became of the tasks that are finished, by their numbers.
        is_whole: Whether the store was whole already, and its writer stopped while it tidied up.

    Raises:
        StoreWriteError: The place holds something else, or what another call has begun, or another process is
            writing there.
        StorageError: The disk failed, or the object store.
    """

    def __init__(
        self, place: Place, arguments: dict[str, str], tasks: Sequence[Task], old: OldStore | None
    ) -> None:
        self.url = place.url
        self.finished: dict[int, Finished] = {}
        self.is_whole = False
        self._place = place
        self._tasks = tasks
        self._old = old
        self._journals = place.is_shared or len(tasks) > 1
        onto = {} if old is None else {_ONTO: old.manifest.fingerprint}
        self._begun = Begun(arguments | onto, len(tasks), 0)
        self._finals: set[str] = set()

    def __enter__(self) -> Self:
        self._place.claim()
        try:
            self._find()
        except BaseException:
            self._place.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.is_whole:
                self._leave()
        finally:
            self._place.release()

    def finish(self, entry: Finished) -> None:
        """Keep what became of a task.

        Raises:
            StoreWriteError: Another process has taken over.
            StorageError: The disk failed, or the object store.
        """
        if self._journals:
            self._place.add(self._begun, entry)
        self.finished[entry.number] = entry

    def commit(self, target: Target, template: str) -> None:
        """Give everything its final name, then write the manifest, which comes last.

        Args:
            target: How the shards were made.
            template: The name of the template.

        Raises:
            InputError: No record is left.
            StoreWriteError: The tasks do not go together, or not with the store that is added to. Or another
                process was first.
            StorageError: The disk failed, or the object store.
        """
        done = [self.finished[task.number] for task in self._tasks]
        self._place.wait()
        if not any(entry.written.shards for entry in done):
            self.finished = {}  # what is wrong with all records is wrong with the arguments
            raise _no_records(done)
        manifest = manifest_of(done, target, template)
        if self._old is not None:
            manifest = self._old.with_more(manifest)
        renamed = self._renamed(done)
        self._finals = {file.final for file in renamed}
        try:
            self._place.rename(renamed)
            join_rejected(self._place.storage, self._tasks, done, self._begun.rejected_bytes)
        except StorageError:
            self._place.hurry()
            with suppress(StorageError):
                self._place.check_alone()  # who has taken over may have tidied up
            raise
        if self._old is not None:
            keep_manifest(Path(self.url), self._old.manifest)
        self._place.commit(manifest.as_bytes)
        self.is_whole = True
        self._place.settle()
        self._tidy(done)

    def _renamed(self, done: Sequence[Finished]) -> list[Renamed]:
        """Return what each file of the tasks is called until the store is whole, and then."""
        first = len(self._old.manifest.shards) if self._old is not None else 0
        return [
            Renamed(before.name, after.name, before.bytes)
            for draft, final in final_shards(done, first)
            for before, after in zip(draft.files, final.files, strict=True)
        ]

    def _find(self) -> None:
        """Take over what is there, or refuse it."""
        if self._is_there_already() or (self._place.take(self._begun) and self._has_come_meanwhile()):
            return
        self._remove_unfinished()
        self._place.begin(self._begun, self.finished.values())
        if self.finished:
            say([f"{self.url}: {len(self.finished)} of {len(self._tasks)} parts are finished already"])

    def _has_come_meanwhile(self) -> bool:
        try:
            return self._is_there_already()
        except StoreWriteError:
            self._place.give_back()
            raise

    def _is_there_already(self) -> bool:
        """Find out what is there, and whether it is the whole store; or refuse it."""
        found = self._place.sizes()
        if strange := sorted(name for name in found if not is_store_file(name)):
            raise StoreWriteError(
                f"{self.url} already holds {strange[0]!r}: a store needs a directory of its own; choose another"
            )
        journal = self._place.journal()
        if journal is not None and self._was_committed(found, *journal):
            return True
        if self._old is None and MANIFEST in found:
            if self._place.is_shared:
                self._tidy([])  # what one left who was stopped while he did it, or had lost
            raise StoreWriteError(
                f"{self.url} already holds a store: remove it or choose another directory, or add to it "
                "(append=True, --append)"
            )
        if self._old is not None and REJECTED in found:
            self._begun = replace(self._begun, rejected_bytes=found[REJECTED])
        if journal is not None:
            self._go_on(found, *journal)
        return False

    def _was_committed(self, found: Mapping[str, int], before: Begun, entries: Sequence[Finished]) -> bool:
        """Whether the manifest is what these tasks have become: then what is left over goes."""
        onto = before.arguments.get(_ONTO)
        if onto is None and (self._old is not None or MANIFEST not in found):
            return False
        if onto is not None and (self._old is None or self._old.manifest.fingerprint == onto):
            return False
        if self._place.is_shared and {entry.number for entry in entries} != {task.number for task in self._tasks}:
            return False  # the manifest may be another's
        now = self._begun.arguments | ({} if onto is None else {_ONTO: onto})
        self._check(before, entries, replace(self._begun, arguments=now))
        self.is_whole = True
        self.finished = {entry.number: entry for entry in entries}
        self._tidy(entries)
        return True

    def _go_on(self, found: Mapping[str, int], before: Begun, entries: Sequence[Finished]) -> None:
        """Take over what is finished and there."""
        self._check(before, entries, self._begun)
        self._begun = replace(self._begun, rejected_bytes=before.rejected_bytes)
        by_number = {entry.number: entry for entry in entries}
        finals: dict[str, str] = {}
        if len(by_number) == len(self._tasks):  # it may have been stopped while files got their names, or is at it
            renamed = self._renamed([by_number[task.number] for task in self._tasks])
            finals = {file.draft: file.final for file in renamed}
        self._finals = set(finals.values())
        self.finished = {number: entry for number, entry in by_number.items() if _is_there(entry, found, finals)}

    def _check(self, before: Begun, entries: Sequence[Finished], now: Begun) -> None:
        check_same(before, now, entries, self.url)
        finished_in([task.keys for task in self._tasks], entries, self.url)

    def _remove_unfinished(self) -> None:
        """Remove all that belongs neither to the store nor to a task that is finished."""
        found = self._place.sizes()
        kept = {entry.rejected_file for entry in self.finished.values()} | self._finals
        kept |= {file.name for entry in self.finished.values() for file in entry.written.files}
        if self._old is not None:
            shards = self._old.manifest.shards
            kept |= {MANIFEST, REJECTED, *(file.name for shard in shards for file in shard.files)}
        elif MANIFEST in found:  # another process was first
            kept |= {name for name in found if not name.startswith("task-")}
        self._place.delete(
            name for name in found if is_store_file(name) and name not in kept and not is_kept(name)
        )

    def _leave(self) -> None:
        """Leave what is finished, if the journal knows it, in silence: another error is the one to report."""
        self._place.hurry()
        with suppress(StorageError):
            self._place.wait()
        with suppress(OSError, StorageError):
            if not self._journals or not all(task.keys for task in self._tasks):
                self.finished, self._finals = {}, set()
            if self.finished:
                share = f"{len(self.finished)} of {len(self._tasks)} parts"
                say([f"{self.url}: {share} are finished and kept: the same command goes on with the others"])
            elif self._place.undo():
                return
            self._remove_unfinished()
            if not self.finished:
                self._place.forget()

    def _tidy(self, done: Sequence[Finished]) -> None:
        """Remove what only an unfinished store needs."""
        with suppress(OSError, StorageError):
            self._place.delete(entry.rejected_file for entry in done if entry.rejected_bytes)
            self._place.forget()


def _is_there(entry: Finished, found: Mapping[str, int], finals: Mapping[str, str]) -> bool:
    """Whether all files of a task are there, under their drafts' names or their last ones."""
    files = entry.sizes.items()
    return all(size in (found.get(name), found.get(finals.get(name, name))) for name, size in files)


def _no_records(done: Sequence[Finished]) -> InputError:
    rejected = Counter[str]()
    for entry in done:
        rejected.update(entry.rejected)
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
    first = next((f"; the first: {entry.first}" for entry in done if entry.first), "")
    return InputError(f"the source holds no usable records ({counted or 'it is empty'}){first}", reason="empty")
