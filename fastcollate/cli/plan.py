from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from fastcollate.cli.packs import run_packed
from fastcollate.plan.arguments import check_at_least_one, make_plan
from fastcollate.reports.plan_summary import PlanSummary, least_cells, plain_cells, summarise_plan
from fastcollate.reports.text import announced, plural, print_fields, print_json
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate plan store --batch-size 32 --world-size 8
  fastcollate plan store --max-tokens 16384 --buckets 8 --json
  fastcollate plan store --pack 2048
"""
_SHAPES_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The directory, and what a `BucketedDataset` would be given."""
    parser.add_argument("store", metavar="DIR", help="the directory of a store")
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
    store = TokenStore(args.store)
    if args.pack is not None:
        run_packed(store, args)
        return
    plan = make_plan(
        store.length_histogram(),
        store.lengths_at,
        batch_size=args.batch_size,
        max_tokens=args.max_tokens,
        buckets=args.buckets,
        shuffle=True,
        seed=args.seed,
        window=args.window,
        drop_last=args.drop_last,
        group=check_at_least_one("world_size", args.world_size),
        shuffle_block=1,
        longest_first=False,
    )
    with announced(f"planning {plural(len(store), 'record')} ..."):
        found = summarise_plan(plan)
        rows = plan.batch_size or max(1, round(found.records / max(1, found.batches)))
        plain = 1 - store.num_tokens / plain_cells(plan, rows)
        least = 1 - store.num_tokens / least_cells(plan, *store.length_histogram())
    padding = {"plain_loop": plain, "plan": found.padding, "lower_bound": min(least, found.padding)}
    facts = {**_facts(found, len(store)), "padding": padding}
    if args.json:
        print_json(facts)
    else:
        _print(facts, found, rows)


def _facts(found: PlanSummary, records: int) -> dict[str, Any]:
    tokens = found.rank_tokens
    return {
        "records": found.records,
        "tokens": found.tokens,
        "batches": found.batches,
        "batches_per_rank": found.batches // len(tokens),
        "shapes": [[*shape, count] for shape, count in sorted(found.shapes.items())],
        "filler_rows": found.fillers,
        "rank_tokens": tokens.tolist(),
        "rank_spread": float(tokens.max() / max(1.0, float(np.mean(tokens))) - 1),
        "waiting": found.waiting,
        "planning_seconds": found.seconds,
        "planning_nanoseconds_per_record": found.seconds / records * 1e9,
    }


def _print(facts: dict[str, Any], found: PlanSummary, rows: int) -> None:
    padding = facts["padding"]
    print_fields(
        {
            "records": f"{facts['records']:,} with {facts['tokens']:,} tokens",
            "batches": f"{facts['batches_per_rank']:,} on each of {plural(len(facts['rank_tokens']), 'rank')}",
            "filler rows": f"{facts['filler_rows']:,}",
            "padding": f"{padding['plan']:.2%}   (plain loop of {rows} rows {padding['plain_loop']:.2%}, "
            f"lower bound {padding['lower_bound']:.2%})",
            "balance": f"the fullest rank has {facts['rank_spread']:.2%} more tokens than the mean",
            "waiting": f"{facts['waiting']:.2%} of a step, for its largest batch",
            "planning": f"{facts['planning_seconds']:.2f} s, "
            f"{facts['planning_nanoseconds_per_record']:.0f} ns a record",
            "shapes": _shapes(found),
        }
    )


def _shapes(found: PlanSummary) -> str:
    """The most frequent shapes, rows x width, with how many batches have each."""
    common = found.shapes.most_common(_SHAPES_SHOWN)
    listed = ", ".join(f"{rows}x{width} ({count:,})" for (rows, width), count in common)
    more = len(found.shapes) - len(common)
    return f"{len(found.shapes):,}: {listed}{f', and {more:,} more' if more else ''}"
