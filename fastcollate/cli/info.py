from __future__ import annotations

import argparse
from typing import Any

from fastcollate.pretokenize.telling import told
from fastcollate.reports.lengths import histogram, in_words, print_histogram, summarise
from fastcollate.reports.text import file_size, print_fields, print_json, printable, rejections
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate info store
  fastcollate info store --json | jq .lengths.p99
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directory."""
    parser.add_argument("store", metavar="DIR", help="the directory of a store")


def run(args: argparse.Namespace) -> None:
    """Print what the manifest knows; no token is read."""
    store = TokenStore(args.store)
    facts = describe(store)
    if args.json:
        print_json(facts)
        return
    print_fields(
        {
            "path": facts["path"],
            "encoding": f"{facts['encoding']}, {facts['vocabulary']:,} tokens, end {facts['eot_token_id']}",
            "template": facts["template"] or "none",
            "layout": f"{facts['layout']}, {facts['dtype']}",
            "records": f"{facts['records']:,}",
            "tokens": f"{facts['tokens']:,}",
            "shards": f"{facts['shards']:,}",
            "on disk": file_size(facts["bytes"]),
            "lengths": in_words(facts["lengths"]),
            "rejected": rejections(facts["rejected"]),
            "fingerprint": facts["fingerprint"],
        }
    )
    for line in told(facts["noted"], facts["records"]):
        print(printable(f"noted: {line.what}: {line.fix}"))
    print_histogram(*store.length_histogram())


def describe(store: TokenStore) -> dict[str, Any]:
    """All that `info` prints, by name; `histogram` has [from, to, records] bins, both ends counted."""
    manifest = store.manifest
    return {
        "path": str(store.path),
        "encoding": store.encoding,
        "vocabulary": manifest.encoding.n_vocab,
        "eot_token_id": store.eot_token_id,
        "template": manifest.template,
        "layout": manifest.layout,
        "dtype": manifest.dtype,
        "records": len(store),
        "tokens": store.num_tokens,
        "shards": len(manifest.shards),
        "bytes": manifest.bytes,
        "lengths": summarise(*store.length_histogram()),
        "histogram": histogram(*store.length_histogram()),
        "rejected": manifest.rejected,
        "noted": manifest.noted,
        "fingerprint": store.fingerprint,
    }
