"""Writing a store as the files of another program."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fastcollate.arguments import check_choice
from fastcollate.corpus.exports.to_hugging_face import write_hugging_face
from fastcollate.corpus.exports.to_megatron import write_megatron
from fastcollate.errors import InputError, StoreWriteError
from fastcollate.ragged import IntArray
from fastcollate.storage.local import make_names_durable, storage_errors
from fastcollate.store.reader import TokenStore

__all__ = ["ExportFormat", "columns_left_out", "export"]

log = logging.getLogger("fastcollate")

ExportFormat = Literal["megatron", "huggingface"]
_AT_ONCE = 1 << 22  # tokens that are copied together


def export(
    store: TokenStore | str | Path,
    output: str | Path,
    *,
    format: ExportFormat = "megatron",  # noqa: A002  # pinned
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Write a store, or a view of one, as the files of another program; the directory appears whole or not at all.

    Args:
        store: The store, or its directory.
        output: The directory to make; it may exist only if it is empty.
        format: `"megatron"` (default) makes `text_document.bin` and `text_document.idx`, each record a document of
            one sequence, with the bytes of Megatron's own writer; what records say of their targets has no place
            there, and is left out with a warning. `"huggingface"` makes what `datasets.load_from_disk` opens:
            `input_ids`, and `labels` where records say what is learnt, -100 elsewhere.
        progress: What is called with the number of records after each part; nothing is by default.

    Returns:
        What the other program is given: the common name of the two files, or the directory.

    Raises:
        StoreWriteError: The directory holds something, or is a URL.
        StoreError: The store cannot be read.
        InputError: The format is unknown, or the store is none.
        LimitError: The vocabulary has more ids than the format has room for.
        StorageError: The disk failed.

    >>> from fastcollate import Ragged, StoreWriter, export, open_corpus
    >>> import tempfile
    >>> directory = tempfile.mkdtemp()
    >>> with StoreWriter(directory + "/store", encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[72, 105, 256], [79, 107]]))
    >>> open_corpus(export(directory + "/store", directory + "/megatron"))[1]
    array([ 79, 107], dtype=uint16)
    """
    check_choice("format", format, get_args(ExportFormat))
    if not isinstance(store, TokenStore | str | Path):
        raise InputError(f"export got a {type(store).__name__}: give it a TokenStore, or the directory of one")
    opened = store if isinstance(store, TokenStore) else TokenStore(store)
    lost = columns_left_out(opened, format)
    if lost:
        log.warning("%s: the format %s has no place for %s: left out", output, format, ", ".join(lost))
    with _appearing(output) as draft:
        parts = _told(_parts(opened), progress)
        write = write_megatron if format == "megatron" else write_hugging_face
        write(opened, draft, parts)
    return Path(output) / "text_document" if format == "megatron" else Path(output)


def columns_left_out(store: TokenStore, format: ExportFormat) -> list[str]:  # noqa: A002  # as above
    """Return the columns of a store that a format has no place for."""
    kept = {"spans", "labels"} if format == "huggingface" else set()
    return [name for name in store.columns if name not in kept]


def _parts(store: TokenStore) -> list[IntArray]:
    """Return the records in parts of some tokens each: lengths [3, 3, 9, 1] in parts of 6 are [0, 1], [2], [3]."""
    before = np.cumsum(store.lengths) - store.lengths
    firsts = np.flatnonzero(np.diff(before // _AT_ONCE, prepend=-1))
    return np.split(np.arange(len(store)), firsts[1:]) if len(store) else []


def _told(parts: list[IntArray], progress: Callable[[int], object] | None) -> Iterator[IntArray]:
    for part in parts:
        yield part
        if progress is not None:
            progress(len(part))


@contextmanager
def _appearing(output: str | Path) -> Iterator[Path]:
    """Lend a directory that gets its name when it is whole, and is removed if it is not."""
    if "://" in str(output):
        raise StoreWriteError(f"{output}: an export is written to a local disk; give a directory")
    path = Path(output)
    with storage_errors(path):
        if path.exists() and not path.is_dir():
            raise StoreWriteError(f"{path} is a file: an export is a directory; choose another path")
        found = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        if found:
            raise StoreWriteError(
                f"{path} already holds {found[0]!r}: an export needs a directory of its own; choose another"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.parent / f".{path.name}.{os.getpid()}.tmp"
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        draft.mkdir()
    try:
        with storage_errors(path):
            yield draft
            make_names_durable(draft)
            draft.replace(path)
            make_names_durable(path.parent)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(draft)
        raise
