from __future__ import annotations

import argparse
from typing import Any

from fastcollate.arguments import check_count
from fastcollate.cli.any_corpus import add_corpus, opened
from fastcollate.corpus.mapped_corpus import MappedCorpus
from fastcollate.errors import PlanError, plural
from fastcollate.plan.planning import plan_buckets, plan_packs
from fastcollate.reports.plan_summary import least_cells, plain_cells, summarise_buckets, summarise_packs
from fastcollate.reports.text import announced, print_fields, print_json
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate plan store --batch-size 32 --world-size 8
  fastcollate plan store --max-tokens 16384 --buckets 8 --json
  fastcollate plan store --pack 2048
  fastcollate plan "fineweb_train_*.bin" --eot-token-id 50256 --pack 2048
"""
_SHAPES_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The corpus, and what a `BucketedDataset` or a `PackedDataset` would be given."""
    add_corpus(parser)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--batch-size", type=int, metavar="N", help="rows of a batch")
    size.add_argument("--max-tokens", type=int, metavar="N", help="padded tokens of a batch at most")
    size.add_argument("--pack", type=int, metavar="N", help="packs of N tokens, in batches of one")
    parser.add_argument("--buckets", type=int, metavar="K", help="pad to the K widths that waste least")
    parser.add_argument("--world-size", type=int, default=1, metavar="R", help="ranks (default: 1)")
    parser.add_argument("--window", type=int, default=65_536, metavar="N", help="records sorted together")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the shuffle (default: 0)")
    parser.add_argument("--drop-last", action="store_true", help="drop the last step if it is not full")


def run(args: argparse.Namespace) -> None:
    """Plan one epoch without reading a token, and say what it would be."""
    store = opened(args)
    group = check_count("world_size", args.world_size, 1, error=PlanError)
    same = {"seed": args.seed, "window": args.window, "drop_last": args.drop_last, "group": group}
    facts = _count_buckets(store, args, same) if args.pack is None else _count_packs(store, args, same)
    if args.json:
        print_json(facts)
    else:
        print_fields(_buckets_in_words(facts) if args.pack is None else _packs_in_words(facts))


def _count_buckets(
    store: TokenStore | MappedCorpus, args: argparse.Namespace, same: dict[str, Any]
) -> dict[str, Any]:
    sizes = {"batch_size": args.batch_size, "max_tokens": args.max_tokens, "buckets": args.buckets}
    plan = plan_buckets(store.length_histogram(), store.at_epoch(args.seed, 0), **sizes, **same)
    with announced(f"planning {plural(len(store), 'record')} ..."):
        found = summarise_buckets(plan)
        rows = args.batch_size or found.rows_per_batch
        plain = 1 - store.num_tokens / plain_cells(plan, rows)
        least = 1 - store.num_tokens / least_cells(plan, *store.length_histogram())
    padding = {"plain_loop": plain, "plan": found.padding, "lower_bound": min(least, found.padding)}
    return {**found.facts(), "rows_of_plain_loop": rows, "padding": padding}


def _count_packs(
    store: TokenStore | MappedCorpus, args: argparse.Namespace, same: dict[str, Any]
) -> dict[str, Any]:
    if args.buckets is not None:
        raise PlanError("--buckets is for padded batches: packs have one width; leave it out")
    plan = plan_packs(store.length_histogram(), store.at_epoch(args.seed, 0), length=args.pack, **same)
    with announced(f"packing {plural(len(store), 'record')} ..."):
        return summarise_packs(plan).facts()


def _buckets_in_words(facts: dict[str, Any]) -> dict[str, str]:
    padding = facts["padding"]
    plain = f"plain loop of {facts['rows_of_plain_loop']} rows {padding['plain_loop']:.2%}"
    return {
        "records": _records(facts),
        "batches": f"{facts['batches_per_rank']:,} on each of {plural(len(facts['rank_tokens']), 'rank')}",
        "filler rows": f"{facts['filler_rows']:,}",
        "padding": f"{padding['plan']:.2%}   ({plain}, lower bound {padding['lower_bound']:.2%})",
        "balance": f"the fullest rank has {facts['rank_spread']:.2%} more tokens than the mean",
        "waiting": f"{facts['waiting']:.2%} of a step, for its largest batch",
        "planning": _planning(facts),
        "shapes": _shapes(facts["shapes"]),
    }


def _packs_in_words(facts: dict[str, Any]) -> dict[str, str]:
    bound = f"lower bound {facts['packs_lower_bound']:,}"
    return {
        "records": _records(facts),
        "packs": f"{facts['packs']:,} of {facts['length']:,} tokens   ({bound})",
        "efficiency": f"{facts['efficiency']:.3%} of the cells hold tokens",
        "documents": f"{facts['documents_per_pack']:.1f} in a pack",
        "batches": f"{facts['batches_per_rank']:,} on each of {plural(facts['ranks'], 'rank')}",
        "planning": _planning(facts),
    }


def _records(facts: dict[str, Any]) -> str:
    return f"{facts['records']:,} with {facts['tokens']:,} tokens"


def _planning(facts: dict[str, Any]) -> str:
    each = facts["planning_nanoseconds_per_record"]
    return f"{facts['planning_seconds']:.2f} s, {each:.0f} ns a record"


def _shapes(shapes: list[list[int]]) -> str:
    """The most frequent shapes, rows x width, with how many batches have each."""
    common = sorted(shapes, key=lambda shape: -shape[2])[:_SHAPES_SHOWN]
    listed = ", ".join(f"{rows}x{width} ({count:,})" for rows, width, count in common)
    more = len(shapes) - len(common)
    return f"{len(shapes):,}: {listed}{f', and {more:,} more' if more else ''}"
