from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from fastcollate.cli.any_corpus import add_corpus, opened
from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.plan.sorting import default_block
from fastcollate.pretokenize.telling import told
from fastcollate.ragged import IntArray
from fastcollate.reports.lengths import histogram, in_words, print_histogram, summarise
from fastcollate.reports.mapped_summary import tell_mapped
from fastcollate.reports.text import file_size, print_fields, print_json, printable, rejections, shuffle_in_words
from fastcollate.storage.storage import is_object_url
from fastcollate.store.manifest import Manifest
from fastcollate.store.verify import read_manifest

EXAMPLE = """\
example:
  fastcollate info store
  fastcollate info store --json | jq .lengths.p99
  fastcollate info s3://bucket/store
  fastcollate info my_corpus_text_document.idx
  fastcollate info train.bin --dtype uint16 --eot-token-id 50256
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The corpus."""
    add_corpus(parser)


def run(args: argparse.Namespace) -> None:
    """Print what the manifest knows, or the index of other files; no token of a store is read."""
    remote = is_object_url(args.store)
    found = None if remote else opened(args)
    if isinstance(found, MappedCorpus):
        tell_mapped(found, as_json=args.json)
        return
    options = args.storage_options
    manifest = read_manifest(args.store, storage_options=options) if found is None else found.manifest
    facts = describe(args.store if remote else str(Path(args.store)), manifest)
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
            "shuffle": f"{shuffle_in_words(facts['shuffle_block'])} by default",
            "rejected": rejections(facts["rejected"]),
            "fingerprint": facts["fingerprint"],
        }
    )
    for line in told(facts["noted"], facts["records"]):
        print(printable(f"noted: {line.what}: {line.fix}"))
    print_histogram(*_histogram(manifest))


def describe(path: str, manifest: Manifest) -> dict[str, Any]:
    """All that `info` prints, by name; `histogram` has [from, to, records] bins, both ends counted."""
    return {
        "path": path,
        "encoding": manifest.encoding.name,
        "vocabulary": manifest.encoding.n_vocab,
        "eot_token_id": manifest.encoding.eot_token_id,
        "template": manifest.template,
        "layout": manifest.layout,
        "dtype": manifest.dtype,
        "records": manifest.records,
        "tokens": manifest.tokens,
        "shards": len(manifest.shards),
        "bytes": manifest.bytes,
        "lengths": summarise(*_histogram(manifest)),
        "histogram": histogram(*_histogram(manifest)),
        "shuffle_block": default_block(manifest.tokens * np.dtype(manifest.dtype).itemsize, manifest.records),
        "rejected": manifest.rejected,
        "noted": manifest.noted,
        "fingerprint": manifest.fingerprint,
    }


def _histogram(manifest: Manifest) -> tuple[IntArray, IntArray]:
    pairs = np.array(manifest.lengths, np.int64)
    return pairs[:, 0], pairs[:, 1]
