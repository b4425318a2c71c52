"""What stands for the records of an epoch until somebody asks for them."""

from __future__ import annotations

from collections.abc import Collection

from fastcollate.ragged import Found, IntArray, RaggedBatch

__all__ = ["UNREAD", "Unread"]


class Unread:
    """The records of no epoch: those of a dataset in another process, until it asks for its own."""

    def lengths_at(self, indices: IntArray) -> IntArray:
        """Raise: nobody asks before the records are known."""
        raise NotImplementedError

    def find(self, indices: IntArray, columns: Collection[str] = ()) -> Found:
        """Raise: nobody asks before the records are known."""
        raise NotImplementedError

    def gather(self, indices: IntArray, columns: Collection[str] = ()) -> RaggedBatch:
        """Raise: nobody asks before the records are known."""
        raise NotImplementedError


UNREAD = Unread()
