"""What a store that was just made is, for machines."""

from __future__ import annotations

from fastcollate.store.reader import TokenStore

__all__ = ["EACH_A_LINE", "store_numbers"]

EACH_A_LINE = ", each a line of rejected.jsonl there"
"""What is said after the counts of records that were left out."""


def store_numbers(store: TokenStore) -> dict[str, object]:
    """Return what the manifest says of a store, but for its shards one by one.

    >>> import tempfile
    >>> from fastcollate import prepare
    >>> store_numbers(prepare([{"text": "a"}], tempfile.mkdtemp() + "/s", encoding="bytes"))["tokens"]
    2
    """
    manifest = store.manifest
    return {
        "records": len(store),
        "tokens": store.num_tokens,
        "rejected": manifest.rejected,
        "noted": manifest.noted,
        "encoding": store.encoding,
        "template": manifest.template,
        "shards": len(manifest.shards),
        "bytes": manifest.bytes,
        "fingerprint": store.fingerprint,
    }
