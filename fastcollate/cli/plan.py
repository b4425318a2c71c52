from __future__ import annotations

import argparse
from typing import Any

from fastcollate.arguments import check_count
from fastcollate.cli.any_corpus import add_corpus, opened
from fastcollate.corpus.corpus import block_of
from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.corpus.row_targets import check_targets
from fastcollate.errors import PlanError, plural
from fastcollate.plan.pack_plans.targets import TARGETS
from fastcollate.plan.planning import plan_buckets, plan_packs
from fastcollate.reports.idle_time import USUAL, WANTED, IdleTime, picture, window_that_would_do
from fastcollate.reports.plan_summary import least_cells, plain_cells, summarise_buckets, summarise_packs
from fastcollate.reports.text import announced, print_fields, print_json, shuffle_in_words
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate plan store --batch-size 32 --world-size 8
  fastcollate plan store --max-tokens 16384 --buckets 8 --json
  fastcollate plan store --pack 2048
  fastcollate plan "fineweb_train_*.bin" --eot-token-id 50256 --pack 2048
  fastcollate plan store --pack 8192 --world-size 64 --balance targets
  fastcollate plan s3://bucket/store --pack 8192 --world-size 64 --lanes 8
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
    parser.add_argument(
        "--balance",
        type=_balance,
        nargs="?",
        const=USUAL,
        default=argparse.SUPPRESS,
        metavar="K",
        help="length at which attention costs as much as the rest (default: 24576), or targets, or none",
    )
    parser.add_argument("--window", type=int, default=65_536, metavar="N", help="records sorted together")
    parser.add_argument(
        "--shuffle-block", type=int, metavar="N", help="records that stay together (default: the corpus decides)"
    )
    parser.add_argument(
        "--lanes", type=int, default=1, metavar="N", help="windows side by side: a node reads its own"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the shuffle (default: 0)")
    parser.add_argument("--drop-last", action="store_true", help="drop the last step if it is not full")


def run(args: argparse.Namespace) -> None:
    """Plan one epoch without reading a token, and say what it would be."""
    store = opened(args)
    group = check_count("world_size", args.world_size, 1, error=PlanError)
    block = block_of(store, args.shuffle_block)
    same = {"seed": args.seed, "window": args.window, "drop_last": args.drop_last, "group": group}
    same |= {"shuffle_block": block, "lanes": args.lanes}
    facts = _count_buckets(store, args, same) if args.pack is None else _count_packs(store, args, same)
    facts |= {"shuffle_block": block, "lanes": args.lanes}
    if args.json:
        print_json(facts)
        return
    print_fields(_buckets_in_words(facts) if args.pack is None else _packs_in_words(facts))
    if facts.get("ranks", 1) > 1 and facts["ranks_of_a_step"]:
        print(f"\nwork of the {facts['ranks']:,} ranks in a usual step, the busiest first")
        print("\n".join(picture(facts["ranks_of_a_step"])))


def _count_buckets(
    store: TokenStore | MappedCorpus, args: argparse.Namespace, same: dict[str, Any]
) -> dict[str, Any]:
    if hasattr(args, "balance"):
        raise PlanError("--balance is for packs: the batches of a step are alike already; leave it out")
    sizes = {"batch_size": args.batch_size, "max_tokens": args.max_tokens, "buckets": args.buckets}
    plan = plan_buckets(store.length_histogram(), store.at_epoch(args.seed, 0), **sizes, **same)
    with announced(f"planning {plural(len(store), 'record')} ..."):
        found = summarise_buckets(plan)
        rows = args.batch_size or found.rows_per_batch
        plain = 1 - store.num_tokens / plain_cells(plan, rows)
        least = 1 - store.num_tokens / least_cells(plan, *store.length_histogram())
    padding = {"plain_loop": plain, "plan": found.padding, "lower_bound": min(least, found.padding)}
    return {**found.facts(), "rows_of_plain_loop": rows, "padding": padding}


def _balance(text: str) -> int | str | None:
    if text == TARGETS:
        return TARGETS
    return None if text == "none" else int(text)


def _count_packs(
    store: TokenStore | MappedCorpus, args: argparse.Namespace, same: dict[str, Any]
) -> dict[str, Any]:
    if args.buckets is not None:
        raise PlanError("--buckets is for padded batches: packs have one width; leave it out")
    same["balance"] = balance = check_targets(store, getattr(args, "balance", USUAL))
    length = balance if isinstance(balance, int) else None
    plan = plan_packs(store.length_histogram(), store.at_epoch(args.seed, 0), length=args.pack, **same)
    idle = IdleTime(length or USUAL, getattr(store, "supervised", None))
    with announced(f"packing {plural(len(store), 'record')} ..."):
        facts = summarise_packs(plan, idle).facts() | idle.facts()
        facts["dealt"] = "by cost" if length else "as it comes" if balance is None else "by targets"
        too_much = facts["idle"] > WANTED and facts["ranks"] > 1 and length is not None
        facts["window_that_would_do"] = window_that_would_do(plan, idle.balance) if too_much else plan.window
    return facts


def _buckets_in_words(facts: dict[str, Any]) -> dict[str, str]:
    padding = facts["padding"]
    plain = f"plain loop of {facts['rows_of_plain_loop']} rows {padding['plain_loop']:.2%}"
    return {
        "records": _records(facts),
        "batches": f"{facts['batches_per_rank']:,} on each of {plural(len(facts['rank_tokens']), 'rank')}",
        "filler rows": f"{facts['filler_rows']:,}",
        "padding": f"{padding['plan']:.2%}   ({plain}, lower bound {padding['lower_bound']:.2%})",
        "balance": f"the fullest rank has {facts['rank_spread']:.2%} more tokens than the mean",
        "shuffle": shuffle_in_words(facts["shuffle_block"]),
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
        "shuffle": shuffle_in_words(facts["shuffle_block"]),
        **(_idle_in_words(facts) if facts["ranks"] > 1 else {}),
        "planning": _planning(facts),
    }


def _idle_in_words(facts: dict[str, Any]) -> dict[str, str]:
    """How long ranks wait for each other, and what would help."""
    each, spread, window = facts["idle_of_a_step"], facts["supervised_spread"], facts["window_that_would_do"]
    said = {
        "idle time": f"{facts['idle']:.2%} of all ranks' time   (a step: mean {each['mean']:.2%}, "
        f"99th percentile {each['p99']:.2%})"
    }
    if facts["dealt"] == "as it comes":
        said["advice"] = "packs are dealt as they come: --balance deals neighbours in cost to a step"
    elif window is None:
        said["advice"] = "no window would make less than 1 % idle: there are too few packs for so many ranks"
    elif facts["idle"] > WANTED and facts["dealt"] == "by cost":
        said["advice"] = f"--window {window} would make less than 1 % idle"
    if spread is not None:
        said["targets"] = f"the rank with the most has {spread:.2f} times the mean of its step"
    return said


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
