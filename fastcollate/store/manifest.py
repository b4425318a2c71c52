"""`manifest.json`: what a store says about itself, checked when it is read; `fastcollate.store` has the format."""

from __future__ import annotations

import builtins
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fastcollate.errors import StoreCorruptError, StoreVersionError, UnsafeStoreError
from fastcollate.store.typed_json import build, sealed
from fastcollate.tokenizers.tokenizer import TokenizerInfo

VERSION = 1
_FORMAT = "fastcollate"
MANIFEST = "manifest.json"
ARRAYS = ("input_ids", "offsets", "spans", "span_offsets", "source_row")

Layout = Literal["arrow", "npy"]

_HEX = re.compile(r"[0-9a-f]{64}")


def file_names(shard: int, layout: Layout) -> list[str]:
    """Return the files of shard number `shard`.

    >>> file_names(3, "arrow")
    ['shard-00003.arrow']
    """
    stem = f"shard-{shard:05d}"
    return [f"{stem}.arrow"] if layout == "arrow" else [f"{stem}.{array}.npy" for array in ARRAYS]


def is_store_file(name: str) -> bool:
    """Return whether `name` is one that a writer of this format makes, finished or not.

    >>> is_store_file("shard-00000.offsets.npy.tmp"), is_store_file("notes.txt")
    (True, False)
    """
    arrays = "|".join(ARRAYS)
    return re.fullmatch(rf"(manifest\.json|shard-\d{{5,}}\.(arrow|({arrays})\.npy))(\.tmp)?", name) is not None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a shard: its plain name, its size and the hash of all its bytes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard: counts, the hash of all its bytes but the token ids, and its first and last row of the source."""

    records: int
    tokens: int
    span_values: int
    index_sha256: str
    values_at: int
    source_rows: list[int]
    files: list[FileEntry]


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`; `lengths` is the histogram as sorted [length, count] pairs."""

    encoding: TokenizerInfo
    template: str | None
    dtype: str
    layout: Layout
    records_per_shard: int
    has_spans: bool
    shards: list[ShardEntry]
    lengths: list[list[int]]
    rejected: dict[str, int] = field(default_factory=dict)

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
        if content.get("version") != VERSION:
            raise StoreVersionError(
                f"{path} has version {content.get('version')!r}, this fastcollate reads {VERSION}: "
                "install the version that wrote it, or prepare the store again"
            )
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
    for number, shard in enumerate(manifest.shards):
        names = [file.name for file in shard.files]
        if names != file_names(number, manifest.layout):
            raise UnsafeStoreError(
                f"{path}: shard {number} names the files {names!r:.80}: a store's files have plain names "
                f"such as {file_names(number, manifest.layout)[0]}; do not open it"
            )
        full = number + 1 < len(manifest.shards)
        fits = shard.records == manifest.records_per_shard if full else shard.records <= manifest.records_per_shard
        if not fits or not 0 < shard.records <= shard.tokens or len(shard.source_rows) != 2:
            raise StoreCorruptError(f"{path}: shard {number} has impossible counts; restore the manifest")
        if not all(_HEX.fullmatch(h) for h in (shard.index_sha256, *(f.sha256 for f in shard.files))):
            raise StoreCorruptError(f"{path}: shard {number} has a hash that is no SHA-256; restore the manifest")
    pairs = manifest.lengths
    if any(len(p) != 2 for p in pairs) or [p[0] for p in pairs] != sorted({p[0] for p in pairs}):
        raise StoreCorruptError(f"{path}: the length histogram is not sorted pairs; restore the manifest")
    if sum(c for _, c in pairs) != manifest.records or sum(n * c for n, c in pairs) != manifest.tokens:
        raise StoreCorruptError(f"{path}: the length histogram and the shards disagree; restore the manifest")
