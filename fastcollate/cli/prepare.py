from __future__ import annotations

import argparse
import shlex
import time
from typing import get_args

from fastcollate.cli.setting_pairs import add_storage_options, pairs
from fastcollate.errors import plural
from fastcollate.pretokenize.account import Account
from fastcollate.pretokenize.recipe import Overlong, Unsupervised
from fastcollate.pretokenize.run import prepare
from fastcollate.pretokenize.telling import told
from fastcollate.pretokenize.work import EngineName
from fastcollate.reports.accounts.account_shown import account_shown
from fastcollate.reports.accounts.account_summary import account_numbers, account_words
from fastcollate.reports.logged import logged
from fastcollate.reports.store_numbers import EACH_A_LINE, store_numbers
from fastcollate.reports.text import file_size, print_fields, print_json, printable
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate prepare data.json --output store
  fastcollate prepare 'train/*.jsonl' --output store --max-length 1024 \\
      --fields instruction=question,output=answer
  fastcollate prepare s3://bucket/data --output s3://bucket/store
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fastcollate.prepare`, under the same names."""
    add = parser.add_argument
    files = "JSON, Parquet, Arrow, CSV, TSV or text, also compressed: paths, globs, folders, URLs, or -"
    add("source", nargs="+", metavar="SOURCE", help=files)
    add("--output", required=True, metavar="DIR|URL", help="the directory to make, or a URL (s3://, gs://, az://)")
    encoding = 'any name tiktoken knows, "bytes", or a tokenizer.json or .tiktoken file (default: gpt2)'
    add("--encoding", default="gpt2", help=encoding)
    add("--template", help="how records become text: a name or a file (default: told by the records, and said)")
    add("--format", help="of the files (default: told by name and content)")
    add("--fields", type=_fields, metavar="F=K,...", help="keys of the records, by the template's fields")
    add("--max-length", type=int, metavar="N", help="the most tokens of a record")
    overlong = get_args(Overlong)
    longer = f"what happens to longer ones: {', '.join(overlong)} (default: truncate)"
    add("--overlong", choices=overlong, default="truncate", metavar="WHAT", help=longer)
    bare = "what happens to records without a target: drop, keep or error (default: drop)"
    add("--unsupervised", choices=get_args(Unsupervised), default="drop", metavar="WHAT", help=bare)
    add("--train-on", default="all", help="turns to learn: all, last, or 'none-before N' (default: all)")
    response = r"what stands before an answer in a whole conversation; \n is a line feed"
    add("--response-marker", type=_marker, metavar="TEXT", help=response)
    prompt = "what stands before a prompt there, and ends an answer"
    add("--prompt-marker", type=_marker, metavar="TEXT", help=prompt)
    add("--keep-columns", type=_names, default=(), metavar="K,...", help="keys of the records to keep as columns")
    add("--no-eot", action="store_true", help="do not end records with the end-of-text token")
    add("--layout", choices=["arrow", "npy"], default="arrow", help="of the files (default: arrow)")
    add("--records-per-shard", type=int, default=262_144, metavar="N", help="(default: 262144)")
    add("--workers", type=int, metavar="N", help="the most processes (default: one a core)")
    where = "where they run: this machine, or a Ray cluster (default: local)"
    add("--engine", choices=get_args(EngineName), default="local", help=where)
    add("--timeout", type=int, default=600, metavar="S", help="seconds a worker may be silent (default: 600)")
    more = "add the records to the store that is at DIR; who reads it goes on as before"
    add("--append", action="store_true", help=more)
    add_storage_options(parser)
    on_error = "stop at a bad record, or skip and count it (default: raise)"
    add("--on-error", choices=["raise", "skip"], default="raise", help=on_error)
    add("--quiet", action="store_true", help="print warnings, errors and --json alone")


def run(args: argparse.Namespace) -> None:
    """Make the store, and say what is in it."""
    begun = time.perf_counter()
    with account_shown(quiet=args.quiet) as account, logged(warnings_only=args.json or args.quiet):
        store = prepare(
            args.source,
            args.output,
            encoding=args.encoding,
            template=args.template,
            fields=args.fields,
            format=args.format,
            append_eot=not args.no_eot,
            max_length=args.max_length,
            overlong=args.overlong,
            unsupervised=args.unsupervised,
            train_on=args.train_on,
            response_marker=args.response_marker,
            prompt_marker=args.prompt_marker,
            keep_columns=args.keep_columns,
            layout=args.layout,
            records_per_shard=args.records_per_shard,
            workers=args.workers,
            engine=args.engine,
            timeout=args.timeout,
            on_error=args.on_error,
            append=args.append,
            storage_options=args.storage_options,
            progress=account,
        )
    summary = _summary(store, account, time.perf_counter() - begun)
    if args.json:
        print_json(summary)
    elif not args.quiet:
        _print(store, account, summary)


def _summary(store: TokenStore, account: Account, seconds: float) -> dict[str, object]:
    return {
        "path": str(store.path),
        **store_numbers(store),
        "seconds": round(seconds, 3),
        "account": account_numbers(account),
    }


def _print(store: TokenStore, account: Account, summary: dict[str, object]) -> None:
    size = file_size(int(str(summary["bytes"])))
    added = account.written.records
    words = account_words(account)
    words["rejected"] += EACH_A_LINE if account.rejected else ""
    more = f", {added:,} of them added" if added < len(store) else ""
    print_fields(
        {
            "read": words.pop("read"),
            "records": f"{len(store):,}{more}",
            "tokens": f"{store.num_tokens:,} ({store.encoding}, template {store.manifest.template})",
            **words,
            "path": f"{store.path} ({plural(len(store.manifest.shards), 'shard')}, {size})",
            "seconds": f"{summary['seconds']:.2f}",
        }
    )
    for line in told(store.manifest.noted, len(store)):
        print(printable(f"noted: {line.what}"))
    print(f"\nnext: fastcollate info {shlex.quote(str(store.path))}")


def _marker(text: str) -> str:
    """Text as a shell passes it on: a backslash and n for a line feed."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _names(text: str) -> tuple[str, ...]:
    """`source,score` as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _fields(text: str) -> dict[str, str]:
    """`instruction=question,output=answer` as a dict."""
    return pairs(text, "field=key pairs, such as instruction=question,output=answer")
