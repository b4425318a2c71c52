"""Stores in an object store, beside the same ones in a directory."""

from fastcollate import TokenStore
from fastcollate.storage.network.kept_blocks import KeptBlocks
from fastcollate.storage.storage import open_storage
from fastcollate.store.remote import far_store


def upload(path, url, options):
    """Put the files of a store under a prefix."""
    there = open_storage(url, options)
    for file in sorted(path.iterdir()):
        if file.is_file():
            there.upload(file, file.name)
    return url


def keep_in_memory(monkeypatch, limit):
    """Let stores keep so many bytes of tokens in memory, and forget what earlier ones have kept."""
    kept = KeptBlocks(limit)
    monkeypatch.setattr(far_store, "kept_blocks", lambda: kept)


class Far:
    """A store of this machine that is also in a bucket, and what opens it there."""

    def __init__(self, near, url, options, cache):
        self.near, self.options, self.cache = near, options, cache
        self.url = upload(near.path, url, options)

    def open(self, *, options=None, **more):
        """The store in the bucket, with an index of its own; `cache_dir` keeps its tokens, too."""
        return TokenStore(self.url, storage_options=self.options | (options or {}), **more)
