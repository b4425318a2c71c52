"""The output of `prepare` until it is a store: tasks that are finished stay, whatever happens to the others."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from fastcollate.errors import InputError, StoreWriteError
from fastcollate.pretokenize.parts.adding import OldStore
from fastcollate.pretokenize.parts.assembling import final_shards, join_rejected, manifest_of
from fastcollate.pretokenize.parts.journal import Begun, check_same, finished_in, line_of, read_journal
from fastcollate.pretokenize.parts.tasks import Task
from fastcollate.pretokenize.parts.writing import Finished, Target, draft_of_rejected
from fastcollate.pretokenize.telling import say
from fastcollate.storage.local import replacing, storage_error, write_whole
from fastcollate.storage.own_directory import OwnDirectory
from fastcollate.store.appending import keep_manifest
from fastcollate.store.manifest import JOURNAL, MANIFEST, REJECTED, is_kept, is_store_file

__all__ = ["Unfinished"]

_ONTO = "append to"
"""The argument that is the fingerprint of the store which is added to."""

_LEAVING = f"{JOURNAL}.tmp"  # the journal while the manifest takes its place
_DURABLE_SECONDS = 2.0


class Unfinished:
    """A directory that becomes a store, one process's alone.

    With a journal, what is finished is kept when the block is left by an exception or by death, and is found there
    by the next that begins alike; all else is as it was before. Without one, nothing is kept.

    Args:
        path: The directory.
        arguments: What decides the bytes, by name.
        tasks: All tasks.
        old: The store that is added to; None begins a store.

    Attributes:
        finished: What became of the tasks that are finished, by their numbers.
        is_whole: Whether the store was whole already, and its writer stopped while it tidied up.

    Raises:
        StoreWriteError: The directory holds something else, or what another call has begun, or another process is
            writing there.
        StorageError: The disk failed.
    """

    def __init__(self, path: Path, arguments: dict[str, str], tasks: Sequence[Task], old: OldStore | None) -> None:
        self.path = path
        self.finished: dict[int, Finished] = {}
        self.is_whole = False
        self._tasks = tasks
        self._old = old
        self._journals = len(tasks) > 1
        onto = {} if old is None else {_ONTO: old.manifest.fingerprint}
        self._begun = Begun(arguments | onto, len(tasks), 0)
        self._durable = time.monotonic()

    def __enter__(self) -> Self:
        self._own = OwnDirectory(self.path)
        try:
            self._find()
        except BaseException as error:
            self._own.release()
            if isinstance(error, OSError):
                raise storage_error(self.path, error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.is_whole:
                self._leave()
        finally:
            self._own.release()

    def finish(self, entry: Finished) -> None:
        """Keep what became of a task.

        Raises:
            StorageError: The disk failed.
        """
        self.finished[entry.number] = entry
        if not self._journals:
            return
        path = self.path / JOURNAL
        try:
            if not path.exists():
                with replacing(path) as file:
                    file.write(line_of(self._begun))
            with path.open("ab") as file:
                file.write(line_of(entry))
                # All that a line speaks of is durable; the line need not be at once.
                if time.monotonic() - self._durable > _DURABLE_SECONDS:
                    file.flush()
                    os.fsync(file.fileno())
                    self._durable = time.monotonic()
        except OSError as error:
            raise storage_error(path, error) from error

    def commit(self, target: Target, template: str) -> None:
        """Give everything its final name, then write the manifest, which comes last.

        Args:
            target: How the shards were made.
            template: The name of the template.

        Raises:
            InputError: No record is left.
            StoreWriteError: The tasks do not go together, or not with the store that is added to.
            StorageError: The disk failed.
        """
        done = [self.finished[task.number] for task in self._tasks]
        if not any(entry.written.shards for entry in done):
            self.finished = {}  # what is wrong with all records is wrong with the arguments
            raise _no_records(done)
        manifest = manifest_of(done, target, template)
        if self._old is not None:
            manifest = self._old.with_more(manifest)
        try:
            for draft, final in self._renamed(done):
                with suppress(FileNotFoundError):  # which has its name from a run that was stopped here
                    (self.path / draft).replace(self.path / final)
            join_rejected(self.path, self._tasks, done, self._begun.rejected_bytes)
            if self._old is not None:
                keep_manifest(self.path, self._old.manifest)
            self._own.sync()
            if (self.path / JOURNAL).exists():
                (self.path / JOURNAL).replace(self.path / _LEAVING)
            write_whole(self.path / MANIFEST, manifest.as_bytes)
            self.is_whole = True
            self._own.sync()
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._tidy(done)

    def _renamed(self, done: Sequence[Finished]) -> list[tuple[str, str]]:
        """Return what each file of the tasks is called until the store is whole, and then."""
        first = len(self._old.manifest.shards) if self._old is not None else 0
        return [
            (before.name, after.name)
            for draft, final in final_shards(done, first)
            for before, after in zip(draft.files, final.files, strict=True)
        ]

    def _find(self) -> None:
        """Take over what is there, or refuse it."""
        found = sorted(entry.name for entry in self.path.iterdir())
        if strange := [name for name in found if not is_store_file(name)]:
            raise StoreWriteError(
                f"{self.path} already holds {strange[0]!r}: a store needs a directory of its own; choose another"
            )
        journal = read_journal(self.path / JOURNAL) or read_journal(self.path / _LEAVING)
        if journal is not None and self._was_committed(*journal):
            return
        if self._old is None and MANIFEST in found:
            raise StoreWriteError(
                f"{self.path} already holds a store: remove it or choose another directory, or add to it "
                "(append=True, --append)"
            )
        if self._old is not None and REJECTED in found:
            size = (self.path / REJECTED).stat().st_size
            self._begun = replace(self._begun, rejected_bytes=size)
        if journal is not None:
            self._go_on(*journal)
        self._remove_unfinished()
        if self.finished:
            with replacing(self.path / JOURNAL) as file:
                file.write(line_of(self._begun))
                file.writelines(map(line_of, self.finished.values()))
            say([f"{self.path}: {len(self.finished)} of {len(self._tasks)} parts are finished already"])

    def _was_committed(self, before: Begun, entries: Sequence[Finished]) -> bool:
        """Whether the manifest is what these tasks have become: then what is left over goes."""
        onto = before.arguments.get(_ONTO)
        if onto is None and (self._old is not None or not (self.path / MANIFEST).exists()):
            return False
        if onto is not None and (self._old is None or self._old.manifest.fingerprint == onto):
            return False
        now = self._begun.arguments | ({} if onto is None else {_ONTO: onto})
        self._check(before, entries, replace(self._begun, arguments=now))
        self.is_whole = True
        self.finished = {entry.number: entry for entry in entries}
        self._tidy(entries)
        return True

    def _go_on(self, before: Begun, entries: Sequence[Finished]) -> None:
        """Take over what is finished and there."""
        self._check(before, entries, self._begun)
        self._begun = replace(self._begun, rejected_bytes=before.rejected_bytes)
        by_number = {entry.number: entry for entry in entries}
        finals: dict[str, str] = {}
        if len(by_number) == len(self._tasks):  # it may have been stopped while files got their names
            finals = dict(self._renamed([by_number[task.number] for task in self._tasks]))
        self.finished = {number: entry for number, entry in by_number.items() if self._is_there(entry, finals)}

    def _check(self, before: Begun, entries: Sequence[Finished], now: Begun) -> None:
        check_same(before, now, entries, self.path)
        finished_in([task.keys for task in self._tasks], entries, self.path)

    def _is_there(self, entry: Finished, finals: Mapping[str, str]) -> bool:
        """Whether all files of a task are there, under their drafts' names or their last ones."""
        files = [(file.name, file.bytes) for shard in entry.written.shards for file in shard.files]
        if entry.rejected_bytes:
            files.append((draft_of_rejected(entry.number), entry.rejected_bytes))
        return all(
            _size(self.path / name) == size or _size(self.path / finals.get(name, name)) == size
            for name, size in files
        )

    def _remove_unfinished(self) -> None:
        """Remove all that belongs neither to the store nor to a task that is finished."""
        kept = {draft_of_rejected(number) for number in self.finished}
        if self._old is not None:
            kept |= {
                MANIFEST,
                REJECTED,
                *(file.name for shard in self._old.manifest.shards for file in shard.files),
            }
        if self.finished:
            kept |= {JOURNAL, _LEAVING}
        done = [self.finished[number] for number in sorted(self.finished)]
        kept |= {file.name for entry in done for shard in entry.written.shards for file in shard.files}
        if len(done) == len(self._tasks):
            kept |= {final for _, final in self._renamed(done)}
        for entry in self.path.iterdir():
            if is_store_file(entry.name) and entry.name not in kept and not is_kept(entry.name):
                entry.unlink()

    def _leave(self) -> None:
        """Leave what is finished, if the journal knows it, in silence: another error is the one to report."""
        with suppress(OSError):
            if not self._journals:
                self.finished = {}
            if self.finished:
                share = f"{len(self.finished)} of {len(self._tasks)} parts"
                say([f"{self.path}: {share} are finished and kept: the same command goes on with the others"])
            elif self._own.made:
                shutil.rmtree(self.path)
                return
            self._remove_unfinished()

    def _tidy(self, done: Sequence[Finished]) -> None:
        """Remove what only an unfinished store needs."""
        with suppress(OSError):
            for entry in done:
                (self.path / draft_of_rejected(entry.number)).unlink(missing_ok=True)
            (self.path / _LEAVING).unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Return the size of a file, or -1 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _no_records(done: Sequence[Finished]) -> InputError:
    rejected = Counter[str]()
    for entry in done:
        rejected.update(entry.rejected)
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
    first = next((f"; the first: {entry.first}" for entry in done if entry.first), "")
    return InputError(f"the source holds no usable records ({counted or 'it is empty'}){first}", reason="empty")
