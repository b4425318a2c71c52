from __future__ import annotations

import argparse
import time

from fastcollate.corpus.recognised import format_at
from fastcollate.errors import InputError, plural
from fastcollate.reports.text import announced, file_size, print_json
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate verify store && echo intact
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directory."""
    parser.add_argument("store", metavar="DIR", help="the directory of a store")


def run(args: argparse.Namespace) -> None:
    """Hash everything; what has changed is an error that names the file."""
    begun = time.perf_counter()
    if format_at(args.store) is not None:
        raise InputError(
            f"{args.store} is no store, whose files `verify` compares with the hashes of their manifest: token "
            "files of other programs have none; `info` checks their index"
        )
    store = TokenStore(args.store)
    count, total = sum(len(shard.files) for shard in store.manifest.shards), store.manifest.bytes
    with announced(f"hashing {plural(count, 'file')}, {file_size(total)} ..."):
        store.verify()
    seconds = round(time.perf_counter() - begun, 3)
    if args.json:
        found = {"path": str(store.path), "ok": True, "files": count, "bytes": total}
        print_json({**found, "fingerprint": store.fingerprint, "seconds": seconds})
    else:
        print(f"ok: {plural(count, 'file')}, {file_size(total)}, {seconds:.2f} s")
