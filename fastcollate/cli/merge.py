from __future__ import annotations

import argparse
import shlex
import time

from fastcollate.errors import plural
from fastcollate.pretokenize.joining import merge
from fastcollate.reports.store_numbers import EACH_A_LINE, store_numbers
from fastcollate.reports.text import announced, file_size, print_fields, print_json, rejections
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate merge monday tuesday --output week
  fastcollate merge parts/* --output whole --json | jq .records
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directories, and the one to make."""
    directories = "directories of stores of one encoding and layout, in the order of their records"
    parser.add_argument("stores", nargs="+", metavar="DIR", help=directories)
    parser.add_argument("--output", required=True, metavar="DIR", help="the directory to make")


def run(args: argparse.Namespace) -> None:
    """Join the stores, and say what is in the new one."""
    begun = time.perf_counter()
    stores = [TokenStore(path) for path in args.stores]
    size = file_size(sum(store.manifest.bytes for store in stores))
    with announced(f"joining {plural(len(stores), 'store')}, {size} ..."):
        store = merge(stores, args.output)
    summary = _summary(store, len(stores), time.perf_counter() - begun)
    if args.json:
        print_json(summary)
    else:
        _print(store, summary)


def _summary(store: TokenStore, stores: int, seconds: float) -> dict[str, object]:
    return {
        "path": str(store.path),
        "stores": stores,
        **store_numbers(store),
        "seconds": round(seconds, 3),
    }


def _print(store: TokenStore, summary: dict[str, object]) -> None:
    manifest = store.manifest
    print_fields(
        {
            "records": f"{len(store):,}",
            "tokens": f"{store.num_tokens:,} ({store.encoding}, template {manifest.template or 'none'})",
            "rejected": rejections(manifest.rejected) + (EACH_A_LINE if manifest.rejected else ""),
            "path": f"{store.path} ({plural(len(manifest.shards), 'shard')}, {file_size(manifest.bytes)})",
            "seconds": f"{summary['seconds']:.2f}",
        }
    )
    print(f"\nnext: fastcollate info {shlex.quote(str(store.path))}")
