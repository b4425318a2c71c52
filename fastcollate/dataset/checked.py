"""The batches of a pass beside the check of the files they come from: damage never ends an epoch untold."""

from __future__ import annotations

from collections.abc import Iterator

from fastcollate.corpus.corpus import Records, RecordsOfFiles
from fastcollate.dataset.unchanged import UnchangedFiles
from fastcollate.errors import StoreCorruptError
from fastcollate.plan.state import Position
from fastcollate.ragged import Parcel
from fastcollate.store.shards.background import BackgroundCheck

__all__ = ["checked"]


def checked(
    parcels: Iterator[Parcel], records: Records, begun: Position, *, worker: int = 0, num_workers: int = 1
) -> Iterator[Parcel]:
    """Yield the parcels of a pass, while the files of their records are hashed in the background, and watched.

    The last batch waits until all files are hashed. Workers share the files; one that has a single batch hashes
    all of them, because others may have none and be heard only after the epoch's last batch.

    Args:
        parcels: The batches of a pass, or of one worker's share of it; the first parcel has one batch.
        records: The records of the epoch.
        begun: Where the pass begins.
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
    files, shards = UnchangedFiles(records.mapped), records.unverified()
    parcel, following = next(parcels, None), next(parcels, None)
    check = BackgroundCheck(shards if following is None else shards[worker::num_workers])
    given = 0
    try:
        while parcel is not None:
            if following is None and len(parcel) > 1:
                parcel, following = parcel.part(0, len(parcel) - 1), parcel.part(len(parcel) - 1, len(parcel))
            files.check(at_once=following is None)
            _tell(check, begun, given, all_of_it=following is None)
            yield parcel
            files.check()  # before the next records are looked up
            given += len(parcel)
            parcel, following = following, next(parcels, None)
        files.check(at_once=True)
        _tell(check, begun, given, all_of_it=True)
    finally:
        check.close()


def _tell(check: BackgroundCheck, begun: Position, given: int, *, all_of_it: bool) -> None:
    """Raise what was found, with the batches it may be in."""
    try:
        check.finish() if all_of_it else check.raise_if_damaged()
    except StoreCorruptError as error:
        raise StoreCorruptError(
            f"{error}. Any batch of epoch {begun.epoch} from batch {begun.batch} on may hold some of these "
            f"records, and {given} batches were read here before the change was found"
        ) from error
