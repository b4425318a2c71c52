"""Opening any token files: which format they are is told by their content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, cast

from fastcollate.arguments import check_count
from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.corpus.mapped.mapped_rows import Layout
from fastcollate.errors import InputError, StoreError
from fastcollate.storage.local import storage_errors
from fastcollate.store.manifest import MANIFEST, is_store_file
from fastcollate.store.reader import TokenStore

__all__ = ["format_at", "open_corpus"]

# Each file of `formats` has two functions: `claims(path) -> bool` tells the format by content, without reading
# more than the beginnings of files, and `layout_of(path, dtype, eot_token_id) -> Layout` reads the index. The
# first that claims a path has it: those with a magic number come before those that are told by names.
_FORMATS = (
    *("megatron", "arrow_dataset", "parquet", "mds", "litdata", "webdataset"),
    *("datatrove", "llm_c", "olmo", "nanogpt"),
)
_KNOWN = (
    "a store, Megatron .bin/.idx, Hugging Face Arrow or Parquet, MDS, litData, WebDataset, datatrove .ds, "
    "llm.c .bin, OLMo .npy, or a .bin of bare tokens"
)


class _Format(NamedTuple):
    claims: Callable[[Path], bool]
    layout_of: Callable[[Path, Any, int | None], Layout]


def open_corpus(
    path: str | PathLike[str],
    *,
    dtype: Any = None,
    eot_token_id: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> TokenStore | MappedCorpus:
    """Return the corpus that lies at `path`, read in place: a store, or token files that other programs wrote.

    Args:
        path: A file, a directory whose files are shards of one data set, or a pattern that names some of them,
            such as `data/fineweb_train_*.bin`; Megatron's pairs also by the name without an ending. A store may be
            a URL of an object store, as `TokenStore` takes it.
        dtype: The dtype of the tokens, such as "uint16", where the files do not say it; by default they must.
        eot_token_id: The end-of-text token, which is never guessed. Files that do not say where documents end are
            cut at each of these tokens, which stays with its document: as its last token, or as its first one in
            files that begin with it, as llm.c's do. Without it (the default) such files are refused; for all
            others it is only known to the corpus.
        storage_options: Settings of an object store; see `open_storage`.

    Raises:
        StoreError: There are no files of a known format, or they are not what was written.
        InputError: The files need a dtype or an end-of-text token, or say that they have another.
        StorageError: The disk or the object store failed.

    >>> import tempfile
    >>> import numpy as np
    >>> path = tempfile.mkdtemp() + "/train.bin"
    >>> np.array([5, 6, 0, 7, 0], np.uint16).tofile(path)
    >>> corpus = open_corpus(path, dtype="uint16", eot_token_id=0)
    >>> corpus.lengths, corpus[1]
    (array([3, 2]), array([7, 0], dtype=uint16))
    """
    if "://" in str(path):
        return TokenStore(str(path), storage_options=storage_options)
    place = Path(path)
    name = format_at(place)
    if name is None and _is_store(place):
        given = "dtype" if dtype is not None else "eot_token_id" if eot_token_id is not None else ""
        if given:
            raise InputError(f"{place} is a store, which says itself what its tokens are: leave {given} out")
        return TokenStore(place)
    end = None if eot_token_id is None else check_count("eot_token_id", eot_token_id)
    if name is not None:
        return MappedCorpus(place, partial(_format(name).layout_of, place, dtype, end))
    what = "holds no store" if place.is_dir() else "is not a directory with a store"
    raise StoreError(f"{place} {what}, and no token files of a known format are there: give {_KNOWN}")


def format_at(path: str | PathLike[str]) -> str | None:
    """Return the name of the format that the token files of another program have; None for all else.

    Raises:
        StorageError: The system does not let us look there.

    >>> format_at("/no/such/file")
    """
    place = Path(path)
    with storage_errors(place):
        return None if _is_store(place) else next((name for name in _FORMATS if _format(name).claims(place)), None)


def _format(name: str) -> _Format:
    module = import_module(f"fastcollate.corpus.formats.{name}")  # pyarrow only for those who need it
    return cast("_Format", module)


def _is_store(path: Path) -> bool:
    """Tell whether a directory is a store, or would be one if its writer had finished."""
    return path.is_dir() and (
        (path / MANIFEST).is_file() or any(is_store_file(file.name) for file in path.iterdir())
    )
