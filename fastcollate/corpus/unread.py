"""The records of no epoch."""

from __future__ import annotations

from collections.abc import Collection

from fastcollate.ragged import Found, IntArray, RaggedBatch

__all__ = ["UNREAD"]


class _Unread:
    """The records of a dataset in another process, until it asks for its own."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        raise NotImplementedError

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        raise NotImplementedError

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        raise NotImplementedError


UNREAD = _Unread()
