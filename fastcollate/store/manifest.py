"""`manifest.json`: what a store says about itself, checked when it is read; `fastcollate.store` has the format."""

from __future__ import annotations

import builtins
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fastcollate.errors import StoreCorruptError, StoreVersionError, UnsafeStoreError
from fastcollate.store.shards.entries import Layout, ShardEntry, file_names
from fastcollate.store.shards.shard_arrays import (
    DTYPES,
    PER,
    STRING,
    USUAL,
    ColumnEntry,
    array_dtypes,
    is_column_name,
)
from fastcollate.store.typed_json import build, sealed
from fastcollate.tokenizers.tokenizer import TokenizerInfo

VERSION = 2
_FORMAT = "fastcollate"
MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"
JOURNAL = "journal.jsonl"
"""What an unfinished `prepare` has made so far, in files called `task-...`."""

_HEX = re.compile(r"[0-9a-f]{64}")
_KEPT = re.compile(r"manifest-[0-9a-f]{64}\.json")
_STORE_FILE = re.compile(
    rf"(manifest\.json|{_KEPT.pattern}|rejected\.jsonl|journal\.jsonl|journal/(begun|\d{{5,}})\.json|"
    r"task-\d{5,}(-[0-9a-f]{12})?\.rejected\.jsonl|(shard|task-\d{5,}(-[0-9a-f]{12})?)-\d{5,}\.(arrow|\w+(\.words|\.word_offsets)?\.npy))(\.tmp)?"
)


def is_store_file(name: str) -> bool:
    """Return whether `name` is one that a writer of this format makes, finished or not.

    >>> is_store_file("shard-00000.offsets.npy.tmp"), is_store_file("notes.txt")
    (True, False)
    """
    return _STORE_FILE.fullmatch(name) is not None


def kept_name(fingerprint: str) -> str:
    """Return the file that keeps the manifest with this fingerprint once records were appended.

    >>> kept_name("5e" * 32)[:16]
    'manifest-5e5e5e5'
    """
    return f"manifest-{fingerprint}.json"


def is_kept(name: str) -> bool:
    """Return whether a file of that name keeps a manifest that another one took the place of.

    >>> is_kept(kept_name("5e" * 32)), is_kept(kept_name("../other")), is_kept(MANIFEST)
    (True, False, False)
    """
    return _KEPT.fullmatch(name) is not None


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`; `lengths` is the histogram as sorted [length, count] pairs.

    `rejected` counts records that were left out, `noted` those that were kept and told of, both by reason.
    """

    encoding: TokenizerInfo
    template: str | None
    dtype: str
    layout: Layout
    has_spans: bool
    columns: dict[str, ColumnEntry]
    shards: list[ShardEntry]
    lengths: list[list[int]]
    rejected: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records of all shards."""
        return sum(shard.records for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Tokens of all shards."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes of all shards, on disk."""
        return sum(file.bytes for shard in self.shards for file in shard.files)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest's bytes, and through the hashes in it, of the whole store."""
        return hashlib.sha256(self.as_bytes).hexdigest()

    @cached_property
    def as_bytes(self) -> builtins.bytes:
        """Canonical JSON that carries its own hash: the same store gives the same bytes."""
        return sealed(self, format=_FORMAT, version=VERSION)

    @classmethod
    def from_bytes(cls, data: builtins.bytes, path: str) -> Manifest:
        """Parse and check a manifest; `path` is for the messages.

        Raises:
            StoreCorruptError: not JSON, or a field missing, of another type or out of range.
            StoreVersionError: another format or version.
            UnsafeStoreError: a file name that is not the plain name of a shard.
        """
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise StoreCorruptError(
                f"{path} is not JSON ({error}): restore it or prepare the store again"
            ) from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise StoreVersionError(f"{path} is not a fastcollate manifest: give the directory of a store")
        if (version := content.get("version")) != VERSION:
            fix = "prepare the store again" if version == 1 else "install the version that wrote it"
            raise StoreVersionError(f"{path} has version {version!r}, this fastcollate reads {VERSION}: {fix}")
        manifest = build(cls, {k: v for k, v in content.items() if k not in ("format", "version", "sha256")}, path)
        _check(manifest, path)
        if manifest.as_bytes != data:
            raise StoreCorruptError(
                f"{path} has changed since it was written: restore it or prepare the store again"
            )
        return manifest


def _check(manifest: Manifest, path: str) -> None:
    if manifest.layout not in ("arrow", "npy") or manifest.dtype not in ("uint16", "uint32"):
        raise StoreVersionError(f"{path}: layout {manifest.layout!r} with {manifest.dtype!r} is unknown")
    for name, column in manifest.columns.items():
        if not is_column_name(name):
            raise UnsafeStoreError(f"{path}: {name!r:.80} is no name of a column; do not open it")
        if column.per not in PER or column.dtype not in (*DTYPES, STRING):
            raise StoreVersionError(f"{path}: column {name!r} has {column.dtype!r} per {column.per!r}: unknown")
    _check_vocabulary(manifest, path)
    known = array_dtypes(manifest.dtype, manifest.columns)
    if not manifest.shards:
        raise StoreCorruptError(f"{path} lists no shards: a store has at least one; restore the manifest")
    for number, shard in enumerate(manifest.shards):
        _check_shard(manifest, number, shard, known, path)
    pairs = manifest.lengths
    if any(len(p) != 2 for p in pairs) or [p[0] for p in pairs] != sorted({p[0] for p in pairs}):
        raise StoreCorruptError(f"{path}: the length histogram is not sorted pairs; restore the manifest")
    if sum(c for _, c in pairs) != manifest.records or sum(n * c for n, c in pairs) != manifest.tokens:
        raise StoreCorruptError(f"{path}: the length histogram and the shards disagree; restore the manifest")


def _check_vocabulary(manifest: Manifest, path: str) -> None:
    """The end-of-text token is one of the vocabulary, whose largest id needs the dtype of the ids."""
    end, size = manifest.encoding.eot_token_id, manifest.encoding.n_vocab
    if not 0 < size <= 2**32 or (end is not None and end >= size):
        raise StoreCorruptError(
            f"{path}: the end-of-text id is {end} in a vocabulary of {size}: ids are below its size, which is at "
            "most 2**32; restore the manifest"
        )
    if manifest.dtype != ("uint16" if size <= 2**16 else "uint32"):
        raise StoreCorruptError(
            f"{path}: token ids of a vocabulary of {size} are {manifest.dtype}: ids have the smallest dtype that "
            "holds the vocabulary; restore the manifest"
        )


def _check_shard(manifest: Manifest, number: int, shard: ShardEntry, known: Mapping[str, str], path: str) -> None:
    arrays = [name for name in known if name in shard.places or name not in USUAL]
    names, wanted = [file.name for file in shard.files], file_names(number, manifest.layout, arrays)
    if names != wanted:
        raise UnsafeStoreError(
            f"{path}: shard {number} names the files {names!r:.80}: a store's files have plain names "
            f"such as {wanted[0]}; do not open it"
        )
    if not _fits(manifest, shard, arrays):
        raise StoreCorruptError(f"{path}: shard {number} has impossible counts; restore the manifest")
    for name in arrays:
        _check_place(shard, name, np.dtype(known[name]).itemsize, f"{path}: shard {number}")
    if not all(_HEX.fullmatch(h) for h in (shard.index_sha256, *(f.sha256 for f in shard.files))):
        raise StoreCorruptError(f"{path}: shard {number} has a hash that is no SHA-256; restore the manifest")


def _check_place(shard: ShardEntry, name: str, size: int, where: str) -> None:
    """The place of an array lies inside its file, where values of its dtype may begin."""
    file, at, count = shard.places[name]
    if at % size or at + count * size > shard.files[file].bytes:
        raise StoreCorruptError(
            f"{where} has {name} at byte {at}, {count} values of {size} bytes, in a file of "
            f"{shard.files[file].bytes} bytes: an array lies inside its file and begins at a multiple of its "
            "values' size; restore the manifest"
        )


def _fits(manifest: Manifest, shard: ShardEntry, arrays: list[str]) -> bool:
    """Whether the counts of a shard agree with each other, and with where its arrays lie."""
    places = shard.places
    if not 0 < shard.records <= shard.tokens or sorted(places) != sorted(arrays):
        return False
    if any(len(place) != 3 or place[0] >= len(shard.files) - 1 for place in places.values()):
        return False
    spans = places["spans"][2]
    counts = {"record": shard.records, "token": shard.tokens, "span": spans // 2}
    wanted = {
        "input_ids": shard.tokens,
        "offsets": shard.records + 1,
        "span_offsets": shard.records + 1,
        "source_row": shard.records,
        "supervised": shard.records,
        **{name: counts[column.per] for name, column in manifest.columns.items() if name in places},
    }
    return spans % 2 == 0 and all(places[name][2] == count for name, count in wanted.items())
