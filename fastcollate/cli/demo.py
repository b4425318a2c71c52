from __future__ import annotations

import argparse
import textwrap
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastcollate.bench.loops import our_epoch, padded_loader, plain_epoch
from fastcollate.bench.made_up import make_corpus
from fastcollate.bench.race import ROUNDS, Lap, race
from fastcollate.errors import EncodingError
from fastcollate.pretokenize.run import prepare
from fastcollate.reports.lengths import in_words, summarise
from fastcollate.reports.text import columns, print_json, uses_colour
from fastcollate.reports.transcript import Part, as_colours, as_facts, as_marked, parts_of
from fastcollate.store.reader import TokenStore

EXAMPLE = """\
example:
  fastcollate demo

It needs no network and no files, and leaves none behind.
"""
_RECORDS, _BATCH, _SEED = 2000, 32, 0


def add_arguments(_: argparse.ArgumentParser) -> None:
    """None: it takes no input."""


def run(args: argparse.Namespace) -> None:
    """Make records, prepare them, and load them twice: with the plain loop and with ours."""
    with TemporaryDirectory(prefix="fastcollate-demo-", ignore_cleanup_errors=True) as directory:
        store, prepared = _prepare(Path(directory))
        if not args.json:
            _print_store(prepared)
        plain, ours = _race(store)
        example = parts_of(store, int(store.lengths.argmin()), store.tokenizer())
    if args.json:
        print_json(prepared | _as_json(plain, ours) | {"example": as_facts(example)})
    else:
        _print_race(plain, ours)
        _print_example(example)


def _prepare(directory: Path) -> tuple[TokenStore, dict[str, Any]]:
    """The corpus as a store, and what there is to say about it."""
    records, note = make_corpus(_RECORDS, seed=_SEED), None
    begun = time.perf_counter()
    try:
        store = prepare(records, directory / "gpt2", encoding="gpt2")
    except EncodingError:
        note = "GPT-2's vocabulary is out of reach here, so bytes are the tokens (see fastcollate[gpt2])"
        few = records[: _RECORDS // 4]  # of four times as many tokens each: the demo stays as short
        store = prepare(few, directory / "bytes", encoding="bytes")
    return store, {
        "encoding": store.encoding,
        "records": len(store),
        "tokens": store.num_tokens,
        "lengths": summarise(*store.length_histogram()),
        "seconds_prepare": time.perf_counter() - begun,
        "note": note,
    }


def _race(store: TokenStore) -> tuple[Lap, Lap]:
    """The plain loop's lap and ours; both make next-token targets."""
    rows, pad = [row.tolist() for row in store], store.eot_token_id or 0
    loader = padded_loader(store, batch_size=_BATCH, pad=pad, seed=_SEED, shift=1)
    laps = race(
        {
            "the plain loop": partial(plain_epoch, rows, batch_size=_BATCH, pad=pad, seed=_SEED, shift=1),
            "fastcollate": partial(our_epoch, loader),
        }
    )
    return laps["the plain loop"], laps["fastcollate"]


def _as_json(plain: Lap, ours: Lap) -> dict[str, Any]:
    ratio = ours.tokens_per_second / plain.tokens_per_second
    return {"plain": _lap(plain), "fastcollate": _lap(ours), "ratio": ratio}


def _lap(lap: Lap) -> dict[str, float]:
    count = lap.count
    return {
        "batches": count.batches,
        "cells": count.cells,
        "targets": count.tokens,
        "id_sum": count.id_sum,
        "seconds": lap.seconds,
        "padding": count.padding,
        "tokens_per_second": lap.tokens_per_second,
    }


def _print_store(prepared: dict[str, Any]) -> None:
    print(f"{prepared['records']:,} instruction records, made up here, in a store that is removed again\n")
    if prepared["note"]:
        print(f"  note      {prepared['note']}")
    took = f"{prepared['seconds_prepare']:.2f} s"
    print(f"  prepared  {prepared['tokens']:,} tokens ({prepared['encoding']}) in {took}")
    print(f"  lengths   {in_words(prepared['lengths'])} tokens a record\n", flush=True)


def _print_race(plain: Lap, ours: Lap) -> None:
    print(f"  {'':11} {'batches':>9} {'padding':>10} {'real tokens / s':>18}")
    ratio = ours.tokens_per_second / plain.tokens_per_second
    for name, lap, times in (("plain loop", plain, ""), ("fastcollate", ours, f"   {ratio:.0f}x")):
        speed = f"{round(lap.tokens_per_second, -3):,.0f}"
        print(f"  {name:11} {lap.count.batches:>9,} {100 * lap.count.padding:>8.1f} % {speed:>18}{times}")
    print(
        f"\n  Equal work, checked: both delivered the same {ours.count.tokens:,} targets as int64 tensors\n"
        f"  (input_ids, labels) of {_BATCH} rows. Median of {ROUNDS} epochs each, in turn, after a warm-up.\n"
    )


def _print_example(parts: list[Part]) -> None:
    width = columns() - 2
    lines = [
        replace(
            part,
            pieces=tuple(
                ("\n".join(textwrap.fill(line, width) for line in text.split("\n")), is_control)
                for text, is_control in part.pieces
            ),
        )
        for part in parts
    ]
    if uses_colour():
        print("The shortest record, its prompt dim, its response green:\n")
        print(textwrap.indent(as_colours(lines), "  "))
    else:
        print("The shortest record:\n")
        print(textwrap.indent(as_marked(lines), "  "))
    print("\nnext: fastcollate prepare your-data.jsonl --output store")
