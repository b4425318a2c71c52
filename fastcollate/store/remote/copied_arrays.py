"""One shard of a store that is elsewhere: all its arrays but the token ids, as the copy of the index has them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import StoreCorruptError
from fastcollate.storage.local import MappedFile
from fastcollate.storage.network.block_cache import BLOCK_BYTES
from fastcollate.store.remote.index_copy import IndexCopy
from fastcollate.store.shards.mapped_arrays import Hashed, MappedArrays, ShardKind

__all__ = ["CopiedArrays"]

_FIX = "delete that file, and it is fetched again"


class CopiedArrays(MappedArrays):
    """The arrays of one shard beside its token ids, in files that are fetched when one is first looked at.

    Args:
        kind: What the shard shares with the others; its directory is that of the copy.
        copy: The copy of the index.
        number: The number of the shard.
    """

    def __init__(self, kind: ShardKind, copy: IndexCopy, number: int) -> None:
        super().__init__(kind, copy.entry(number))
        self._copy = copy

    @cached_property
    def checksums(self) -> NDArray[np.uint32]:
        """The CRC-32 of each block of 16 KiB of the token ids, uint32[M]."""
        width = np.dtype(self.kind.dtypes["input_ids"]).itemsize
        blocks = -(-self.entry.tokens * width // BLOCK_BYTES)
        data = self.file(1).data
        if len(data) < 4 * blocks:
            raise StoreCorruptError(f"{self._path(1)} has fewer checksums than there are blocks: {_FIX}")
        return data[len(data) - 4 * blocks :].view(np.uint32)

    def file(self, number: int) -> MappedFile:
        """Return a file of the copy, which is fetched if it is not there."""
        if number not in self._files:
            self._copy.bring()
        return super().file(number)

    def hashed(self) -> Iterator[Hashed]:
        """Yield the index, whose hash leaves out what lies between its arrays, and the checksums."""
        index, checksums = self.entry.files
        arrays = [self[name] for name in self.entry.places]
        data = [array.view(np.uint8) for array in arrays]
        yield Hashed(self._path(0), self.file(0).identity, data, index.sha256, _FIX)
        whole = self.file(1)
        yield Hashed(self._path(1), whole.identity, [whole.data], checksums.sha256, _FIX)

    def corrupt(self, array: str, why: str) -> StoreCorruptError:
        """Return the error for an array that cannot be what was written."""
        return StoreCorruptError(f"{self.path(array)} is not what was fetched ({why}): {_FIX}")

    def _path(self, number: int) -> Path:
        return self.kind.directory / self.entry.files[number].name
