from __future__ import annotations

import argparse
from pathlib import Path

from fastcollate.errors import InputError
from fastcollate.reports.audits.auditing import audit
from fastcollate.reports.audits.findings import Audit
from fastcollate.reports.text import print_json, progress, uses_colour
from fastcollate.reports.transcript import as_colours, as_marked
from fastcollate.storage.local import write_whole

EXAMPLE = """\
example:
  fastcollate audit store --length 2048 --examples
  fastcollate audit store --html audit.html
  fastcollate audit store --strict --quick || echo "look at it first"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directory, what is looked for, and how it is shown."""
    parser.add_argument("store", metavar="DIR", help="the directory of a store")
    parser.add_argument(
        "--length", type=int, metavar="N", help="look for targets past token N, which a loader cuts"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with pictures and transcripts to FILE")
    parser.add_argument(
        "--examples", action="store_true", help="print records that are examples of what was found"
    )
    parser.add_argument("--quick", action="store_true", help="leave the tokens unread: columns alone take seconds")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if something is found")
    parser.add_argument("--encoding", metavar="X", help="a tokenizer file that made the ids (default: by name)")


def run(args: argparse.Namespace) -> int:
    """Look through the store, and print or write what was found."""
    target = None if args.html is None else _target(args.html)
    with progress("records") as told:
        found = audit(args.store, length=args.length, quick=args.quick, encoding=args.encoding, progress=told)
    if target is not None:
        write_whole(target, found.to_html().encode())
    if args.json:
        print_json(found.as_dict())
    else:
        print(found)
        if args.examples:
            _print_examples(found)
    return int(args.strict and bool(found.findings))


def _target(name: str) -> Path:
    """Return where the page goes, if it can: known before all tokens are read."""
    path = Path(name)
    if (path.exists() and not path.is_file()) or not path.parent.is_dir():
        wrong = f'"{name}" is no file' if path.exists() else f"there is no folder {path.parent}"
        raise InputError(f"{wrong}: give --html the name of a file in a folder that is there")
    return path


def _print_examples(found: Audit) -> None:
    """Print the transcripts of each finding."""
    for finding in found.findings:
        for number in finding.examples:
            if number in found.transcripts:
                parts = list(found.transcripts[number])
                print(f"\n{finding.kind}: record {number:,}\n")
                print(as_colours(parts) if uses_colour() else as_marked(parts))
