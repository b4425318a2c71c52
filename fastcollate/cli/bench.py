from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from fastcollate.arguments import check_count, check_counts
from fastcollate.bench.loops import (
    TokenLists,
    features_of,
    hugging_face_epoch,
    our_epoch,
    packed_loader,
    padded_loader,
    plain_epoch,
)
from fastcollate.bench.race import ROUNDS, Epoch, Lap, race
from fastcollate.bench.sample import expected_padding, sample
from fastcollate.bench.standings import TITLES, print_standings
from fastcollate.bench.waiting import idle_shares
from fastcollate.cli.any_corpus import add_corpus, opened
from fastcollate.corpus.corpus import block_of
from fastcollate.errors import InputError, PlanError, plural
from fastcollate.reports.text import announced, print_json

if TYPE_CHECKING:
    from fastcollate.corpus.corpus import RaggedCorpus
    from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
    from fastcollate.loader.stream import StreamLoader
    from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate bench store
  fastcollate bench store --batch-size 8 --pack 4096
  fastcollate bench store --device cuda --transfer ragged --json
"""
_PACK = 2048
_LEAST = 0.1  # seconds a loop runs at least in each round


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The corpus, and what all loops are given."""
    add_corpus(parser)
    add = parser.add_argument
    add("--batch-size", type=int, default=32, metavar="N", help="rows of a batch (default: 32)")
    add("--pack", type=int, metavar="N", help=f"tokens of a pack (default: {_PACK})")
    add("--shuffle-block", type=int, metavar="N", help="records that stay together (default: the corpus decides)")
    add("--world-size", type=int, default=8, metavar="R", help="ranks whose waiting is told (default: 8)")
    add("--records", type=int, metavar="N", help="use N random records (default: enough for some seconds)")
    add("--seed", type=int, default=0, metavar="N", help="of the sample and the shuffle (default: 0)")
    add("--device", default="cpu", metavar="NAME", help="where batches go, such as cuda (default: cpu)")
    add("--transfer", choices=["padded", "ragged"], default="padded", help="how ours go there (default: padded)")


def run(args: argparse.Namespace) -> None:
    """Run all loops over the same records, and say what they deliver and how fast."""
    store = opened(args)
    batch_size = check_count("batch_size", args.batch_size, 1, error=PlanError)
    seed, ranks = check_counts(seed=(args.seed, 0), world_size=(args.world_size, 1), error=PlanError)
    used = sample(store, args.records, batch_size=batch_size, seed=seed)
    batch_size = min(batch_size, len(used))
    length = max(2, min(_PACK, used.num_tokens)) if args.pack is None else args.pack
    packs = max(1, round(batch_size * used.num_tokens / len(used) / max(1, length)))  # about as many tokens
    placed = {"seed": seed, "shuffle_block": block_of(used, args.shuffle_block)}
    common = placed | {"device": args.device, "transfer": args.transfer}
    pad = store.eot_token_id or 0
    with announced("loading torch ..."):
        padded = padded_loader(used, batch_size=batch_size, pad=pad, **common)
        packed = packed_loader(used, length=length, batch_size=packs, pad=pad, **common)
    if padded.device.type == "meta":
        raise InputError("--device is meta, which holds no data: what arrives there cannot be checked")
    shared = {"batch_size": batch_size, "pad": pad, "seed": seed, "device": str(padded.device)}
    laps = race(_entrants(_lists(used), padded, packed, shared), least=_LEAST)
    facts = {
        "path": str(store.path),
        "records_in_store": len(store),
        "records": len(used),
        "tokens": used.num_tokens,
        "batch_size": batch_size,
        "pack": length,
        "packs_of_a_batch": packs,
        "records_split": int((used.lengths > length).sum()),
        **common,
        "rounds": ROUNDS,
        "expected_plain_padding": expected_padding(*store.length_histogram(), batch_size),
        "loops": _facts(laps),
        "idle_of_packs": idle_shares(used, length=length, batch_size=packs, ranks=ranks, **placed),
        "reads": {name: asdict(loader.stats.reads) for name, loader in (("padded", padded), ("packed", packed))},
        "copies": {name: copies(loader.stats) for name, loader in _copying(padded, packed).items()},
    }
    if args.json:
        print_json(facts)
    else:
        print_standings(facts)


def _lists(used: TokenStore | MappedCorpus | RaggedCorpus) -> TokenLists:
    with announced(f"reading {plural(len(used), 'record')} for the plain loops ..."):
        return [used[i].tolist() for i in range(len(used))]


def _entrants(
    rows: TokenLists, padded: StreamLoader, packed: StreamLoader, shared: dict[str, Any]
) -> dict[str, Epoch]:
    """By title, what makes each loop's epoch; `shared` are the plain loops' arguments."""
    epochs: dict[str, Epoch] = {
        "plain_loop": partial(plain_epoch, rows, **shared),
        "hugging_face": partial(hugging_face_epoch, features_of(rows), **shared),
        "padded": partial(our_epoch, padded),
        "packed": partial(our_epoch, packed),
    }
    return {TITLES[name]: epoch for name, epoch in epochs.items()}


def _facts(laps: dict[str, Lap]) -> dict[str, dict[str, float]]:
    """By name, what each loop delivered and how fast, beside the plain loop."""
    plain = laps[TITLES["plain_loop"]]
    return {
        name: {
            **lap.count._asdict(),
            "padding": lap.count.padding,
            "seconds": lap.seconds,
            "tokens_per_second": lap.tokens_per_second,
            "ratio": lap.tokens_per_second / plain.tokens_per_second,
            "cpu_seconds_per_million_tokens": lap.cpu_seconds_per_million,
            "seconds_between_batches_p99": lap.p99,
        }
        for name, lap in zip(TITLES, laps.values(), strict=True)
    }


def _copying(padded: StreamLoader, packed: StreamLoader) -> dict[str, StreamLoader]:
    """The loaders that copy to a device: on the CPU there is nothing to copy."""
    if padded.device.type == "cpu":
        return {}
    return {"padded": padded, "packed": packed}


def copies(stats: Any) -> dict[str, float | None]:
    """What a loader's copies to its device were, over all its epochs; a `LoaderStats`."""
    seconds = stats.seconds_on_bus
    return {
        "batches": stats.batches,
        "seconds_waited": stats.seconds_waited,
        "bytes": stats.bytes_copied,
        "bytes_per_token": stats.bytes_per_token,
        "copies_per_batch": stats.copies / max(1, stats.batches),
        "bytes_per_second": stats.bytes_copied / seconds if seconds else None,
    }
