"""`fastcollate plan --pack N`: how full packs would be."""

from __future__ import annotations

import argparse
import time
from typing import Any

from fastcollate.errors import PlanError
from fastcollate.plan.arguments import check_at_least_one, make_pack_plan
from fastcollate.plan.pack_plan import PackPlan
from fastcollate.reports.text import announced, plural, print_fields, print_json
from fastcollate.store.reader import TokenStore


def run_packed(store: TokenStore, args: argparse.Namespace) -> None:
    """Plan one epoch of packs without reading a token, and say how full they are."""
    if args.buckets is not None:
        raise PlanError("--buckets is for padded batches: packs have one width; leave it out")
    plan = make_pack_plan(
        store.length_histogram(),
        store.lengths_at,
        length=args.pack,
        batch_size=1,
        strategy="best_fit",
        overlong="error",
        shuffle=True,
        seed=args.seed,
        window=args.window,
        drop_last=args.drop_last,
        group=check_at_least_one("world_size", args.world_size),
    )
    with announced(f"packing {plural(len(store), 'record')} ..."):
        facts = _count(plan, store)
    if args.json:
        print_json(facts)
    else:
        _print(facts)


def _count(plan: PackPlan, store: TokenStore) -> dict[str, Any]:
    begun = time.perf_counter()
    windows = map(plan.plan_window, range(plan.num_windows))
    counts = [(len(window), window.count_packs(), len(window.whole.pieces.records)) for window in windows]
    seconds = time.perf_counter() - begun
    batches, packs, documents = (sum(column) for column in zip(*counts, strict=True))
    return {
        "records": len(store),
        "tokens": store.num_tokens,
        "length": plan.length,
        "packs": packs,
        "packs_lower_bound": -(-store.num_tokens // plan.length),
        "ranks": plan.group,
        "batches_per_rank": batches // plan.group,
        "efficiency": store.num_tokens / (packs * plan.length),
        "documents_per_pack": documents / packs,
        "planning_seconds": seconds,
        "planning_nanoseconds_per_record": seconds / len(store) * 1e9,
    }


def _print(facts: dict[str, Any]) -> None:
    bound = f"lower bound {facts['packs_lower_bound']:,}"
    print_fields(
        {
            "records": f"{facts['records']:,} with {facts['tokens']:,} tokens",
            "packs": f"{facts['packs']:,} of {facts['length']:,} tokens   ({bound})",
            "efficiency": f"{facts['efficiency']:.3%} of the cells hold tokens",
            "documents": f"{facts['documents_per_pack']:.1f} in a pack",
            "batches": f"{facts['batches_per_rank']:,} on each of {plural(facts['ranks'], 'rank')}",
            "planning": f"{facts['planning_seconds']:.2f} s, "
            f"{facts['planning_nanoseconds_per_record']:.0f} ns a record",
        }
    )
