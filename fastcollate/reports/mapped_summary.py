"""What token files of other programs hold."""

from __future__ import annotations

from typing import Any

from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.reports.lengths import histogram, in_words, print_histogram, summarise
from fastcollate.reports.text import file_size, print_fields, print_json, rejections

__all__ = ["describe_mapped", "tell_mapped"]


def describe_mapped(corpus: MappedCorpus) -> dict[str, Any]:
    """Return all that is known, by name; `histogram` has [from, to, records] bins, both ends counted.

    >>> import tempfile
    >>> import numpy as np
    >>> from fastcollate import open_corpus
    >>> path = tempfile.mkdtemp() + "/train.bin"
    >>> np.array([5, 6, 0, 7, 0], np.uint16).tofile(path)
    >>> describe_mapped(open_corpus(path, dtype="uint16", eot_token_id=0))["records"]
    2
    """
    pairs = corpus.length_histogram()
    dtypes = {str(piece.tokens.values.dtype) for piece in corpus.layout.pieces}
    return {
        "path": str(corpus.path),
        "format": corpus.layout.format,
        **corpus.layout.noted,
        "eot_token_id": corpus.eot_token_id,
        "dtype": ", ".join(sorted(dtypes)),
        "columns": sorted(corpus.columns),
        "records": len(corpus),
        "tokens": corpus.num_tokens,
        "files": len(corpus.layout.files),
        "bytes": corpus.bytes,
        "lengths": summarise(*pairs),
        "histogram": histogram(*pairs),
        "rejected": dict(corpus.rejected),
        "fingerprint": corpus.fingerprint,
    }


def tell_mapped(corpus: MappedCorpus, *, as_json: bool) -> None:
    """Print it, for people or as JSON."""
    facts = describe_mapped(corpus)
    if as_json:
        print_json(facts)
        return
    end = facts["eot_token_id"]
    print_fields(
        {
            "path": facts["path"],
            "format": f"{facts['format']}, {facts['dtype']}",
            "end of text": "not said" if end is None else str(end),
            **{
                name: f"{value:,}" if isinstance(value, int) else value
                for name, value in corpus.layout.noted.items()
            },
            "columns": ", ".join(facts["columns"]) or "none",
            "records": f"{facts['records']:,}",
            "tokens": f"{facts['tokens']:,}",
            "files": f"{facts['files']:,}",
            "on disk": file_size(facts["bytes"]),
            "lengths": in_words(facts["lengths"]),
            "left out": rejections(facts["rejected"]),
            "fingerprint": facts["fingerprint"],
        }
    )
    print_histogram(*corpus.length_histogram())
