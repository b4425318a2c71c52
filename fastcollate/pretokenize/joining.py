"""Several stores as one: their shards side by side, and a manifest of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from pathlib import Path

from fastcollate.errors import InputError, StoreWriteError
from fastcollate.storage.local import storage_errors
from fastcollate.store.appending import appended, rows_of
from fastcollate.store.directory import StoreDirectory
from fastcollate.store.manifest import REJECTED, Manifest
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.second_names import bring_shards
from fastcollate.store.verify import not_here

__all__ = ["merge"]


def merge(stores: Iterable[str | Path | TokenStore], output: str | Path) -> TokenStore:
    """`merge` joins stores into one at `output`, without encoding or writing anything again, and returns it.

    The new store has the records of all, in the order of `stores`; rows of the source count on from store to
    store. Its shards are the same files under second names (hard links), where the file system has these, else
    copies, whose hashes are compared with the manifest's. Nobody writes into a file of a store, so each store
    stays whole when another one is removed or grows. The same stores give the same bytes. A call that fails leaves
    nothing behind; after one that was killed the same call begins anew.

    Args:
        stores: The stores, as paths or open stores. They have one encoding, layout and set of columns; `weights`
            and `group` may be absent in some. A store may be named twice, and its records are then there twice.
            Of a store that was opened by an earlier fingerprint the records of that time are taken.
        output: The directory to make.

    Raises:
        InputError: There is no store to join, or one of `stores` is a view of a part of a store.
        StoreError: A store cannot be used, or differs from the first one in what all must have in common; the
            field, both values and the fix are named.
        StoreWriteError: `output` holds something else, or another process is writing there.
        StorageError: The disk failed.

    >>> import tempfile
    >>> from fastcollate import Ragged, StoreWriter
    >>> folder = tempfile.mkdtemp()
    >>> for name, rows in (("a", [[72, 105]]), ("b", [[79], [107]])):
    ...     with StoreWriter(f"{folder}/{name}", encoding="bytes") as writer:
    ...         writer.append(Ragged.from_rows(rows))
    >>> store = merge([f"{folder}/a", f"{folder}/b"], f"{folder}/both")
    >>> [row.tolist() for row in store], [store.source_row(i) for i in range(3)]
    ([[72, 105], [79], [107]], [0, 1, 2])
    """
    if "://" in str(output):
        raise StoreWriteError(f"{output}: remote stores cannot be written yet; merge into a local directory")
    whole = _opened(stores)
    manifest = _joined(whole)
    path, written = Path(output), None
    directory = StoreDirectory(path)
    try:
        _bring(whole, path, manifest)
        written = manifest.as_bytes
    finally:
        directory.release(written)
    return TokenStore(path)


def _opened(stores: Iterable[str | Path | TokenStore]) -> list[TokenStore]:
    """Return the stores, each of them open and whole."""
    if isinstance(stores, str | Path | TokenStore) or not isinstance(stores, Iterable):
        raise InputError(f"merge got {stores!r:.80}: give it a list of stores, such as their directories")
    found = []
    for store in stores:
        if not isinstance(store, str | Path | TokenStore):
            raise InputError(f"merge got a list with {store!r:.80}: give it directories of stores, or TokenStores")
        opened = store if isinstance(store, TokenStore) else TokenStore(store)
        if not isinstance(opened.path, Path):
            raise not_here(opened.path)
        if len(opened) != opened.manifest.records:
            raise InputError(
                f"merge got a view of {opened.path} with {len(opened)} of its {opened.manifest.records} records: "
                "whole shards are joined; merge the stores and split the result, or mix() the views"
            )
        found.append(opened)
    if not found:
        raise InputError("merge got no stores: give it the directories of at least one")
    return found


def _joined(stores: Sequence[TokenStore]) -> Manifest:
    """Return the manifest of all stores one after another."""
    manifest, rows = stores[0].manifest, 0
    for before, store in pairwise(stores):
        rows += rows_of(before)
        try:
            manifest = appended(manifest, store.manifest, rows=rows)
        except StoreWriteError as error:
            raise StoreWriteError(f"{store.path} cannot be joined with {stores[0].path}: {error}") from None
    return manifest


def _bring(stores: Sequence[TokenStore], path: Path, manifest: Manifest) -> None:
    """Put all shards into the directory at `path`, and what is told of records that were left out."""
    renamed = iter(manifest.shards)
    for store in stores:
        entries = store.manifest.shards
        bring_shards(Path(store.path), entries, path, list(islice(renamed, len(entries))))
    _join_rejected(stores, path / REJECTED)


def _join_rejected(stores: Sequence[TokenStore], path: Path) -> None:
    """Write the lines on rejected records of all stores, of each no more than its manifest counts.

    A link would not do: to this file lines are added where it lies.
    """
    for store in stores:
        source, count = Path(store.path) / REJECTED, sum(store.manifest.rejected.values())
        if not count or not source.exists():
            continue
        with storage_errors(path), source.open("rb") as lines, path.open("ab") as out:
            out.writelines(line.rstrip(b"\n") + b"\n" for line in islice(lines, count))
