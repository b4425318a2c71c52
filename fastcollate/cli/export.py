from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import get_args

from fastcollate.corpus.exports.exporting import ExportFormat, columns_left_out, export
from fastcollate.reports.text import file_size, print_fields, print_json, printable, progress
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate export store --format megatron --output megatron
  fastcollate export store --format huggingface --output dataset --json | jq .path
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The store, the format, and the directory to make."""
    parser.add_argument("store", metavar="DIR", help="the directory of a store")
    parser.add_argument("--format", choices=get_args(ExportFormat), required=True, help="whose files to write")
    parser.add_argument("--output", required=True, metavar="DIR", help="the directory to make")


def run(args: argparse.Namespace) -> None:
    """Write the files, and say what to give the other program."""
    begun = time.perf_counter()
    store = TokenStore(args.store)
    lost = columns_left_out(store, args.format)
    with progress("records") as bar:
        made = export(store, args.output, format=args.format, progress=bar)
    files = [file for file in Path(args.output).iterdir() if file.is_file()]
    size, seconds = sum(file.stat().st_size for file in files), round(time.perf_counter() - begun, 3)
    if args.json:
        facts = {"path": str(made), "format": args.format, "records": len(store), "tokens": store.num_tokens}
        print_json({**facts, "files": len(files), "bytes": size, "left_out": lost, "seconds": seconds})
        return
    print_fields(
        {
            "records": f"{len(store):,}",
            "tokens": f"{store.num_tokens:,}",
            "left out": ", ".join(lost) or "nothing",
            "path": f"{args.output} ({len(files):,} files, {file_size(size)})",
            "seconds": f"{seconds:.2f}",
        }
    )
    megatron = args.format == "megatron"
    given = f"--data-path {shlex.quote(str(made))}" if megatron else f"datasets.load_from_disk({str(made)!r})"
    print(f"\nnext: {printable(given)}")
