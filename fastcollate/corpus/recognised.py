"""Opening any token files: which format they are is told by their content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, cast

from fastcollate.arguments import check_count
from fastcollate.corpus.mapped_corpus import MappedCorpus
from fastcollate.corpus.mapped_rows import Layout
from fastcollate.errors import StoreError
from fastcollate.storage.storage import is_object_url
from fastcollate.store.elsewhere import store_at
from fastcollate.store.manifest import MANIFEST, is_store_file
from fastcollate.store.reader import TokenStore
from fastcollate.store.verify import not_here

__all__ = ["open_corpus"]

# Each file of `formats` has two functions: `claims(path) -> bool` tells the format by content, without reading
# more than the beginnings of files, and `layout_of(path, dtype, eot_token_id) -> Layout` reads the index. The
# first that claims a path has it: those with a magic number come before those that are told by names.
_FORMATS = ("megatron", "nanogpt")
_KNOWN = "a store, Megatron .bin/.idx, or a .bin of bare tokens"


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
        path: A directory or a file, or what the names of several files begin with; a store may be a URL.
        dtype: The dtype of the tokens, such as "uint16", where the files do not say it; by default they must.
        eot_token_id: The end-of-text token. Where the files do not say where documents end, they are cut behind
            each of these tokens, which stays with the document that it ends; by default such files are refused.
        storage_options: Settings of an object store; see `open_storage`.

    Raises:
        StoreError: There are no files of a known format, or they are not what was written.
        InputError: The files need a dtype or an end-of-text token, or say that they have another.
        StorageError: The disk or the object store failed.
    """
    url = str(path)
    if is_object_url(url):
        return store_at(url, storage_options)
    if "://" in url:
        raise not_here(url)
    place = Path(path)
    if _is_store(place):
        return TokenStore(place)
    end = None if eot_token_id is None else check_count("eot_token_id", eot_token_id)
    for name in _FORMATS:
        found = _format(name)
        if found.claims(place):
            return MappedCorpus(place, partial(found.layout_of, place, dtype, end))
    raise StoreError(f"{place} holds no tokens that are known here: give {_KNOWN}")


def _format(name: str) -> _Format:
    module = import_module(f"fastcollate.corpus.formats.{name}")  # pyarrow only for those who need it
    return cast("_Format", module)


def _is_store(path: Path) -> bool:
    """Tell whether a directory is a store, or would be one if its writer had finished."""
    return path.is_dir() and (
        (path / MANIFEST).is_file() or any(is_store_file(file.name) for file in path.iterdir())
    )
