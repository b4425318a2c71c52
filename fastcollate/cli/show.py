from __future__ import annotations

import argparse

from fastcollate.cli.any_corpus import add_corpus, opened
from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.errors import InputError, plural
from fastcollate.reports.text import print_json, uses_colour
from fastcollate.reports.transcript import Part, as_colours, as_facts, as_marked, parts_of
from fastcollate.store.reader import TokenStore
from fastcollate.tokenizers.load import load_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer

EXAMPLE = """\
example:
  fastcollate show store --record 3
  fastcollate show train.bin --dtype uint16 --eot-token-id 50256 --encoding gpt2

On a terminal prompts are dim and responses, which a model learns to write, are
green; elsewhere, or with NO_COLOR set, each part stands under a line naming it.
The turns of a conversation stand under their roles. Control tokens are inverse
on a terminal, and in brackets elsewhere: the same letters in a text are not.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The corpus, the record and the tokenizer."""
    add_corpus(parser)
    parser.add_argument("--record", type=int, default=0, metavar="I", help="its number, from 0 (default: 0)")
    parser.add_argument(
        "--encoding",
        metavar="X",
        help="what made the ids: a name or a tokenizer file (default: what the store says)",
    )


def run(args: argparse.Namespace) -> None:
    """Print one record."""
    store = opened(args)
    if not 0 <= args.record < len(store):
        raise InputError(
            f"{args.store} has no record {args.record}: it has {plural(len(store), 'record')}, numbered from 0 "
            f"to {len(store) - 1}"
        )
    parts, row = parts_of(store, args.record, _tokenizer(store, args)), None
    if isinstance(store, TokenStore):
        row = store.source_row(args.record)
    if args.json:
        print_json(
            {
                "path": str(store.path),
                "record": args.record,
                "tokens": parts[-1].stop,
                "source_row": row,
                "parts": as_facts(parts),
            }
        )
        return
    source = "" if row is None else f", from row {row:,} of the source"
    print(f"record {args.record:,} of {len(store):,}: {_counts(parts)}{source}\n")
    print(as_colours(parts) if uses_colour() else as_marked(parts))


def _tokenizer(store: TokenStore | MappedCorpus, args: argparse.Namespace) -> Tokenizer:
    if isinstance(store, TokenStore):
        return store.tokenizer(args.encoding)
    if args.encoding is None:
        raise InputError(
            f"{args.store} does not say what made its ids: name it by --encoding, such as gpt2 or a tokenizer.json"
        )
    return load_encoding(args.encoding)


def _counts(parts: list[Part]) -> str:
    learned = sum(part.stop - part.start for part in parts if part.kind == "response")
    total = plural(parts[-1].stop, "token")
    return total if parts[0].kind == "text" else f"{total}, {learned:,} of them the response"
