"""A prefix of an object store in which a store is made, where no lock keeps others out.

`journal/begun.json` says what was begun, and by which run: whoever goes on with it writes his own mark there, and
the run before him, should it live, finds that out with its next task, and stops. The objects of a task carry the
mark of the run that made them, so that no run touches those of another. `journal/00012.json` says that task 12 is
finished. A run gives objects their last names once all tasks are in the journal and the mark is still its own: one
that takes over after that finds all of them, and can only do the same. The manifest is put where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from uuid import uuid4

from fastcollate.errors import StorageError, StoreWriteError
from fastcollate.pretokenize.parts.journal import Begun, Claim, Kept, read_entry
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.pretokenize.places.drafts import ObjectDrafts
from fastcollate.pretokenize.places.own_room import OwnRoom, room_of
from fastcollate.pretokenize.places.place import Renamed
from fastcollate.storage.storage import open_storage
from fastcollate.store.manifest import MANIFEST
from fastcollate.store.typed_json import sealed

__all__ = ["PrefixPlace"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_JOURNAL = "journal/"
_CLAIM = f"{_JOURNAL}begun.json"
_ENTRY = re.compile(rf"{_JOURNAL}(\d{{5,}})\.json")
_AT_ONCE = 16
_HURRIED_SECONDS = 5.0


class PrefixPlace:
    """A prefix as a `Place`, which explains the methods.

    Args:
        url: The URL of the prefix.
        storage_options: Settings of the object store.

    Raises:
        InputError: The URL is of another kind, or a setting is wrong.
        StorageError: The extra `cloud` is not installed.
    """

    is_shared = True

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.storage = open_storage(url, storage_options)
        self.url = self.storage.url
        self._mark = uuid4().hex[:12]
        self.drafts = ObjectDrafts(self.url, self._mark, room_of(self._mark), storage_options)
        self._options = dict(storage_options or {})
        self._before: bytes | None = None  # the claim that this run took over; empty if there was none
        self._strange: set[str] = set()

    def claim(self) -> None:
        """Make a room for what is temporary; who else writes is found out later."""
        self._room = OwnRoom(self.drafts.room)

    def release(self) -> None:
        """Remove what is temporary."""
        self._room.leave()

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each object, but for those of the journal."""
        return {
            name: size
            for name, size in self.storage.sizes().items()
            if name != _CLAIM and not _ENTRY.fullmatch(name)
        }

    def journal(self) -> tuple[Begun, list[Finished]] | None:
        """Return what was begun, and each task that is finished of just that.

        A run that was taken over may still have added a task. One of another kind that came at the very moment in
        which this run took over is of a run that has finished, and was not seen before.
        """
        claim = self._claimed()
        if claim is None:
            return None
        kept = [entry for entry in _together(self._kept, self._entries()) if entry is not None]
        strange = {entry.finished.stem for entry in kept if not entry.is_of(claim.begun)}
        if self._before is not None and not strange <= self._strange:
            raise self._lost()
        self._strange = strange
        return claim.begun, [entry.finished for entry in kept if entry.finished.stem not in strange]

    def take(self, begun: Begun) -> bool:
        """Write this run's mark; another may have written until then."""
        self._before = self._content(_CLAIM)
        self.storage.put(_CLAIM, sealed(Claim(begun, self._mark)))
        return True

    def give_back(self) -> None:
        """Write the mark of the run before, if there was one."""
        if self._is_ours() and self._before:
            self.storage.put(_CLAIM, self._before)
        elif self._is_ours():
            self.storage.delete(_CLAIM)

    def begin(self, begun: Begun, finished: Collection[Finished]) -> None:
        """Do nothing: the journal is as it should be."""

    def add(self, begun: Begun, finished: Finished) -> None:
        """Put an object for the task, unless another run has taken over."""
        self.check_alone()
        self.storage.put(f"{_JOURNAL}{finished.number:05d}.json", sealed(Kept(begun.arguments, finished)))

    def wait(self) -> None:
        """Do nothing: what was added is there."""

    def check_alone(self) -> None:
        """Raise unless this run's mark is there, and no manifest."""
        claim = self._claimed()
        if claim is None and MANIFEST not in self.storage.sizes():  # which tells a bucket that is gone
            raise StoreWriteError(
                f"{self.url}: somebody has deleted what was begun there: begin anew, while nobody else "
                "writes there"
            )
        if claim is None or claim.writer != self._mark or self._is_over():
            raise self._lost()

    def rename(self, files: Sequence[Renamed]) -> None:
        """Give objects their last names, some at a time."""
        self.check_alone()
        there = self.storage.sizes()
        _together(lambda file: self._rename(file, there), files)

    def commit(self, manifest: bytes) -> None:
        """Put the manifest where there is none."""
        if not self.storage.put(MANIFEST, manifest, if_absent=True):
            raise self._lost()

    def settle(self) -> None:
        """Do nothing: what was put is durable."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; once another run has taken over, only those of this run, and drafts nobody needs."""
        ours, mark = self._is_ours(), "task-" if self._is_over() else self._mark
        _together(self.storage.delete, [name for name in names if ours or mark in name])

    def forget(self) -> None:
        """Delete the journal; once another run has taken over, only where it is of no more use to anybody."""
        if self._is_ours() or self._is_over():
            _together(self.storage.delete, self._entries())
            self.storage.delete(_CLAIM)

    def hurry(self) -> None:
        """Give a call no more than five seconds from now on."""
        seconds = min(_HURRIED_SECONDS, float(self._options.get("timeout", _HURRIED_SECONDS)))
        self.storage = open_storage(self.url, self._options | {"timeout": seconds})

    def undo(self) -> bool:
        """Return False: a prefix is not made, and goes with its last object."""
        return False

    def _claimed(self) -> Claim | None:
        return read_entry(Claim, self._content(_CLAIM), f"{self.url}/{_CLAIM}")

    def _kept(self, name: str) -> Kept | None:
        return read_entry(Kept, self._content(name), f"{self.url}/{name}")

    def _entries(self) -> list[str]:
        return [name for name in self.storage.sizes() if _ENTRY.fullmatch(name)]

    def _content(self, name: str) -> bytes:
        """Return what an object holds; nothing if it is not there."""
        return self.storage.read(name) or b""

    def _is_ours(self) -> bool:
        claim = self._claimed()
        return claim is not None and claim.writer == self._mark

    def _is_over(self) -> bool:
        """Whether there is a store, of this run or another."""
        return self.storage.look_up(MANIFEST) is not None

    def _rename(self, file: Renamed, there: Mapping[str, int]) -> None:
        if file.draft in there:
            try:
                self.storage.rename(file.draft, file.final)
            except StorageError:
                with suppress(StorageError):
                    if self._has_its_name(file):
                        return
                raise
        elif not self._has_its_name(file):
            raise StoreWriteError(
                f"{self.url}/{file.draft} is gone: somebody has deleted it; the same command makes it again"
            )

    def _has_its_name(self, file: Renamed) -> bool:
        """Whether an object has its last name alone, from another run or one that was stopped."""
        if self.storage.look_up(file.draft) is not None:
            return False
        found = self.storage.look_up(file.final)
        return found is not None and found.size == file.size

    def _lost(self) -> StoreWriteError:
        with suppress(StorageError):
            if self._is_over():
                return StoreWriteError(
                    f"{self.url}: another process has made a store there meanwhile: use that one, or choose "
                    "another place"
                )
        return StoreWriteError(
            f"{self.url}: another process has taken over what was begun there: wait for it, or choose another "
            "place"
        )


def _together(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what a call returns for each item, some at a time; the first that fails ends it."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(call, items))
    finally:
        pool.shutdown(cancel_futures=True)
