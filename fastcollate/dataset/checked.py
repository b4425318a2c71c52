"""The batches of a pass beside the check of the files they come from: damage never ends an epoch untold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from fastcollate.corpus.corpus import Records, RecordsOfFiles
from fastcollate.dataset.unchanged import UnchangedFiles
from fastcollate.errors import StoreCorruptError
from fastcollate.plan.state import Position
from fastcollate.ragged import Parcel
from fastcollate.store.shards.background import BackgroundCheck

__all__ = ["checked"]


def checked(
    parcels: Iterator[Parcel],
    records: Records,
    begun: Position,
    *,
    has_more: Callable[[], bool],
    worker: int = 0,
    num_workers: int = 1,
) -> Iterator[Parcel]:
    """Yield the parcels of a pass, while the files of their records are hashed in the background, and watched.

    The last batch waits until all files are hashed. Workers share the files; one that has a single batch hashes
    all of them, because others may have none and be heard only after the epoch's last batch.

    Args:
        parcels: The batches of a pass, or of one worker's share of it; the first parcel has one batch.
        records: The records of the epoch.
        begun: Where the pass begins.
        has_more: Whether batches follow that take time to be read; where none do, `parcels` has the rest at hand.
        worker: Which of those that share the pass, from 0.
        num_workers: How many share the pass.

    Raises:
        StoreCorruptError: A file differs from what was written; it is named, with its records and the batches that
            may hold them.
        StoreChangedError: A file was changed while it was read.
        StorageError: A file cannot be read.
    """
    if not isinstance(records, RecordsOfFiles):
        yield from parcels
        return
    files, shards, marked = UnchangedFiles(records.mapped), records.unverified(), _marked(parcels, has_more)
    first = next(marked, None)
    check = BackgroundCheck(shards if first is None or first[1] else shards[worker::num_workers])
    given = 0
    try:
        for parcel, is_last in chain(() if first is None else [first], marked):
            _tell(check, begun, given, all_of_it=is_last)
            files.check(at_once=is_last)
            yield parcel
            files.check()  # before the next records are looked up
            given += len(parcel)
        _tell(check, begun, given, all_of_it=True)
        files.check(at_once=True)
    finally:
        check.close()


def _marked(parcels: Iterator[Parcel], has_more: Callable[[], bool]) -> Iterator[tuple[Parcel, bool]]:
    """Yield each parcel, and whether it is the last batch of all, which comes alone."""
    parcel = next(parcels, None)
    while parcel is not None:
        following = None
        if not has_more():
            following = next(parcels, None)
            if following is None:
                last = len(parcel) - 1
                if last:
                    yield parcel.part(0, last), False
                yield parcel.part(last, last + 1), True
                return
        yield parcel, False
        parcel = next(parcels, None) if following is None else following


def _tell(check: BackgroundCheck, begun: Position, given: int, *, all_of_it: bool) -> None:
    """Raise what was found, with the batches it may be in."""
    try:
        check.finish() if all_of_it else check.raise_if_damaged()
    except StoreCorruptError as error:
        raise StoreCorruptError(
            f"{error}. Any batch of epoch {begun.epoch} from batch {begun.batch} on may hold some of these "
            f"records, and {given} batches were read here before the change was found"
        ) from error
